/**
 * Restores a backup to a scratch installation, with its own Postgres on a free port and a temporary directory, and checks the result. The
 * real installation is not touched.
 */
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { getManifest, openArtifacts, type Artifacts } from '../../../store/artifacts.ts'
import { headFiles } from '../../../store/audit/signed-heads.ts'
import { countRows, openDump } from '../../../store/maintenance/dump.ts'
import { listMigrations } from '../../../store/database/migrate.ts'
import type { Config } from '../../../temporal.config.ts'
import { failure } from '../../client/client.ts'
import { postgresBinaries, startPostgres } from '@tenure/embedded'
import { requireTimeOfName, type LocalBackup } from '../backup-place.ts'
import type { Installation } from '../installation.ts'
import { subjectListText, tableName, type BackupManifest } from '../manifest.ts'
import { openArchive } from '../read-archive.ts'
import { restoreBackup, type RestoreResult } from '../restore.ts'
import { readManifest, requireIntact } from '../verify.ts'

export interface Rehearsal {
  file: string
  taken_at: string
  rows: number
  /** The number of versions whose artifacts match their digests. */
  versions: number
  /** The restored champion of each model. */
  routes: { model: string; version: string }[]
  seconds: number
}

/** Compares every entry with its hash, and the hashes with the signature. */
export async function checkBackupBytes(backup: LocalBackup): Promise<BackupManifest> {
  const archive = await openArchive(backup)
  const manifest = await readManifest(archive, backup.name)
  await requireIntact(archive, manifest, { file: backup.name })
  requireTimeOfName(backup.name, manifest.takenAt)
  return manifest
}

/** Whether the Postgres binaries for a rehearsal are installed on this machine. */
export function canRehearse(): boolean {
  try {
    postgresBinaries()
    return true
  } catch {
    return false
  }
}

/** Throws `otherwise` for a backup that cannot be restored, or whose restored data differs from the backed-up data. */
export async function rehearseRestore(
  config: Config,
  { backup, onProgress }: { backup: LocalBackup; onProgress?: (what: string) => void },
): Promise<Rehearsal> {
  const startedAt = performance.now()
  const manifest = await checkBackupBytes(backup)
  const scratch = await mkdtemp(join(tmpdir(), 'tenure-rehearsal-'))
  // The user of Postgres must be able to enter its directory.
  await chmod(scratch, 0o711)
  const server = await startPostgres({ dataDir: join(scratch, 'postgres'), durable: false }).catch(
    async (error: unknown) => {
      await rm(scratch, { recursive: true, force: true })
      throw error
    },
  )
  try {
    const place = await scratchPlace(config, { scratch, databaseUrl: server.url })
    const restored = await restoreBackup(place, {
      backup,
      replace: false,
      reSign: false,
      actor: 'rehearsal',
      onProgress,
    })
    const versions = await requireSame(place, { backup, manifest, restored })
    return {
      file: backup.name,
      taken_at: manifest.takenAt,
      rows: restored.rows,
      versions,
      routes: restored.routes.map(({ model, version }) => ({ model, version })),
      seconds: Math.round((performance.now() - startedAt) / 100) / 10,
    }
  } finally {
    await server.stop()
    await rm(scratch, { recursive: true, force: true })
  }
}

/** Uses the keys of the installation and a copy of its list of signed heads, with which the audit log of the backup must agree. */
async function scratchPlace(
  config: Config,
  { scratch, databaseUrl }: { scratch: string; databaseUrl: string },
): Promise<Installation> {
  const { objectStore: _, ...rest } = config
  const own = {
    ...rest,
    databaseUrl,
    stateDir: join(scratch, 'state'),
    artifactRoot: join(scratch, 'artifacts'),
  }
  const [heads = ''] = headFiles(config).filter((each) => existsSync(each))
  const [copy = ''] = headFiles(own)
  await mkdir(dirname(copy), { recursive: true, mode: 0o700 })
  if (heads !== '') await copyFile(heads, copy)
  return { databaseUrl, config: own, running: false, close: () => Promise.resolve() }
}

interface Restored {
  backup: LocalBackup
  manifest: BackupManifest
  restored: RestoreResult
}

/** Returns the number of versions whose artifacts are complete. */
async function requireSame(place: Installation, { backup, manifest, restored }: Restored): Promise<number> {
  const issues: string[] = []
  const dump = await openDump(place.databaseUrl)
  try {
    // A later migration of this build may add rows and tables.
    const isSameSchema = (await listMigrations()).length === manifest.migrations.length
    const found = await countRows(place.databaseUrl, manifest.tables)
    for (const [index, { name }] of manifest.tables.entries()) {
      const wanted = (manifest.entries[tableName(name)]?.rows ?? 0) + (addedTo.has(name) ? 1 : 0)
      if (isSameSchema ? found[index] !== wanted : found[index]! < wanted)
        issues.push(`${name} has ${found[index]} rows, not ${wanted}`)
    }
    const artifacts = openArtifacts(place.config.artifactRoot)
    const versions = new Set<string>()
    for (const { digest, version } of dump.references.manifests) {
      if (version === undefined) continue
      await requireFiles(artifacts, digest).then(
        () => versions.add(version),
        (error: Error) => issues.push(`${version}: ${error.message}`),
      )
    }
    for (const digest of dump.references.subjectLists) {
      const list = subjectListText(digest)
      // An erasure reports a list that the backed-up installation lacked too.
      if (manifest.missing.some((each) => each.startsWith(list))) continue
      await artifacts
        .locate('snapshots', digest)
        .catch((error: Error) => issues.push(`${list}: ${error.message}`))
    }
    for (const { model, version } of restored.routes)
      if (!versions.has(version))
        issues.push(`${model} would serve ${version || 'no version'}, which is not complete`)
    if (issues.length > 0)
      throw failure({
        code: 'otherwise',
        detail: `${backup.name} restores to something else: ${issues.slice(0, 5).join('; ')}${issues.length > 5 ? '; and more' : ''}`,
        remedy:
          'Take another backup with `tenure backup`, and look for the missing artifacts with `tenure doctor`.',
      })
    return versions.size
  } finally {
    await dump.close()
  }
}

/** Tables to which a restore adds one row each. */
const addedTo = new Set(['audit', 'routing_epochs'])

/** Opens every file of an artifact, which verifies its digest. */
async function requireFiles(artifacts: Artifacts, digest: string): Promise<void> {
  const { files } = await getManifest(artifacts, digest)
  for (const file of Object.values(files)) await artifacts.locate('artifacts', file.digest)
}
