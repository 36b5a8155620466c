/**
 * Writes a backup: a consistent dump of the database, its artifacts, the signed audit heads and the public key. The private key
 * is left out, so that a stolen backup cannot sign anything.
 */
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { getManifest, type Artifacts } from '../../store/artifacts.ts'
import { openSharedArtifacts } from '../../store/objects/artifact-copies.ts'
import { headFiles } from '../../store/audit/signed-heads.ts'
import { openDump, type Dump } from '../../store/maintenance/dump.ts'
import { openCommonSigner } from '../../store/signing/signing-key.ts'
import { failure } from '../client/client.ts'
import { createArchive, type ArchiveWriter } from './write-archive.ts'
import {
  backupFormat,
  fileName,
  headsName,
  sealArchive,
  subjectListText,
  tableName,
  type BackupManifest,
} from './manifest.ts'
import type { Installation } from './installation.ts'

export interface BackupOptions {
  file: string
  /** Include training snapshots. Versions serve without them, but their trainings cannot be repeated. */
  snapshots: boolean
  /** Leave out missing artifacts instead of failing. */
  allowMissing: boolean
  onProgress?: (what: string) => void
}

export interface BackupMade {
  file: string
  bytes: number
  taken_at: string
  rows: number
  tables: number
  artifacts: number
  missing: string[]
}

export async function makeBackup(place: Installation, options: BackupOptions): Promise<BackupMade> {
  const { config } = place
  const signer = await openCommonSigner(config.signing, 'artifacts')
  const archive = await createArchive(options.file)
  const dump = await openDump(place.databaseUrl).catch(async (error: unknown) => {
    await archive.discard()
    throw error
  })
  try {
    const rows = await addTables(archive, dump, options)
    // Copying files may take long, and an open transaction blocks vacuum.
    await dump.close()
    const missing = await addArtifacts(archive, dump, openSharedArtifacts(config), options)
    await archive.add(headsName, await longestOf(headFiles(config)))
    const entries = { ...archive.entries }
    const manifest: BackupManifest = {
      format: backupFormat,
      ...dump.facts,
      entries,
      missing,
      publicKey: signer.publicPem,
    }
    await sealArchive(archive, manifest, signer)
    const files = Object.keys(entries).filter((name) => /^(artifacts|snapshots)\//.test(name))
    return {
      file: options.file,
      bytes: await archive.finish(),
      taken_at: dump.facts.takenAt,
      rows,
      tables: dump.facts.tables.length,
      artifacts: files.length,
      missing,
    }
  } catch (error) {
    await archive.discard()
    throw error
  } finally {
    await dump.close().catch(() => {})
  }
}

/**
 * Returns the longest of the lists of signed heads. On a separate machine, such as a pod that takes backups, only the list beside the
 * artifacts exists.
 */
async function longestOf(files: readonly string[]): Promise<Buffer> {
  const lists = await Promise.all(files.map((file) => readFile(file).catch(() => Buffer.alloc(0))))
  return lists.toSorted((a, b) => b.byteLength - a.byteLength)[0]!
}

async function addTables(archive: ArchiveWriter, dump: Dump, { onProgress }: BackupOptions): Promise<number> {
  let all = 0
  for (const table of dump.facts.tables) {
    onProgress?.(`table ${table.name}`)
    const sink = archive.begin(tableName(table.name), { gzip: true })
    const rows = await dump.copy(table, (chunk) => sink.write(chunk))
    await sink.end(rows)
    all += rows
  }
  return all
}

/** Adds artifacts and snapshots, and returns the missing ones. Throws `otherwise` for a missing artifact of a version, unless allowed. */
async function addArtifacts(
  archive: ArchiveWriter,
  { references }: Dump,
  artifacts: Artifacts,
  { snapshots, allowMissing, onProgress }: BackupOptions,
): Promise<string[]> {
  const missing: string[] = []
  const add = async (area: 'artifacts' | 'snapshots', digest: string): Promise<void> => {
    const name = fileName(area, digest)
    if (archive.entries[name] !== undefined) return
    // `locate` verifies the digest, so that damage is found before the original is lost.
    const path = await artifacts.locate(area, digest)
    await archive.add(name, createReadStream(path, { highWaterMark: 262_144 }))
  }
  const attempt = async (what: string, mayMiss: boolean, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      const why = `${what}: ${(error as Error).message}`
      if (!mayMiss)
        throw failure({
          code: 'otherwise',
          detail: `no backup was written: ${why}`,
          remedy: 'Restore the file, or leave out missing artifacts with --allow-missing.',
        })
      missing.push(why)
    }
  }
  for (const [index, { digest, version }] of references.manifests.entries()) {
    onProgress?.(`artifact ${index + 1} of ${references.manifests.length}`)
    // Retention may have deleted a candidate that was never registered as a version.
    await attempt(version ?? `a candidate (${digest})`, allowMissing || version === undefined, async () => {
      const manifest = await getManifest(artifacts, digest)
      await add('artifacts', digest)
      for (const file of Object.values(manifest.files)) await add('artifacts', file.digest)
    })
  }
  for (const digest of references.subjectLists)
    await attempt(subjectListText(digest), true, () => add('snapshots', digest))
  if (!snapshots) return missing
  for (const [index, digest] of references.snapshots.entries()) {
    onProgress?.(`snapshot ${index + 1} of ${references.snapshots.length}`)
    await attempt(`the snapshot ${digest}`, true, () => add('snapshots', digest))
  }
  return missing
}
