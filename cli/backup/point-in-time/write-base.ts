/**
 * Copies the data directory of the running embedded Postgres to one archive, as `pg_basebackup` does. With the log from its start on, every
 * later moment can be restored.
 */
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { absentFile } from '../../../store/absent-file.ts'
import { connectUnlimited } from '../../../store/maintenance/dump.ts'
import type { Signer } from '../../../store/signing/signing-key.ts'
import { sealArchive, type SignedManifest } from '../manifest.ts'
import { createArchive, type ArchiveWriter } from '../write-archive.ts'
import type { BaseName } from './places.ts'

export const baseFormat = 'tenure-base@1'

export interface BaseManifest extends SignedManifest, Omit<BaseName, 'key'> {
  format: typeof baseFormat
  server: string
  /** Includes empty directories. */
  directories: string[]
}

/** Prefix of data files in the archive. */
export const dataPrefix = 'data/'
/** Tells Postgres the position in the log at which recovery begins. */
export const labelName = 'backup_label'

export async function writeBase(
  { databaseUrl, dataDir, signer }: { databaseUrl: string; dataDir: string; signer: Signer },
  file: string,
): Promise<BaseManifest> {
  const archive = await createArchive(file)
  // Postgres ends the backup if this connection closes.
  const client = await connectUnlimited(databaseUrl, 'tenure backup')
  try {
    const { rows: begun } = await client.query<{ systemId: string; server: string }>(`
      select system_identifier::text as "systemId", current_setting('server_version') as server,
        pg_backup_start('tenure', true) from pg_control_system()`)
    const directories = await addDirectory(archive, dataDir, '')
    const { rows: ended } = await client.query<{ stopSegment: string; label: string; endedAt: Date }>(`
      select pg_walfile_name(lsn) as "stopSegment", labelfile as label, clock_timestamp() as "endedAt"
      from pg_backup_stop(false)`)
    const { stopSegment, label, endedAt } = ended[0]!
    const startSegment = /\(file ([0-9A-F]{24})\)/.exec(label)?.[1]
    if (startSegment === undefined) throw new Error(`the label of the base names no log file: ${label}`)
    await archive.add(labelName, Buffer.from(label))
    const manifest: BaseManifest = {
      format: baseFormat,
      ...begun[0]!,
      startSegment,
      stopSegment,
      endedAt: endedAt.toISOString(),
      directories,
      entries: { ...archive.entries },
      publicKey: signer.publicPem,
    }
    await sealArchive(archive, manifest, signer)
    await archive.finish()
    return manifest
  } catch (error) {
    await archive.discard()
    throw error
  } finally {
    await client.end().catch(() => {})
  }
}

/**
 * The directories of a data directory, and whether a base holds their files. Postgres fills the others at its start; the log files are
 * copied separately, and tablespaces would lie elsewhere.
 */
const holdsFiles: Readonly<Record<string, boolean>> = {
  base: true,
  global: true,
  pg_commit_ts: true,
  pg_dynshmem: false,
  pg_logical: true,
  pg_multixact: true,
  pg_notify: false,
  pg_replslot: false,
  pg_serial: false,
  pg_snapshots: false,
  pg_stat: true,
  pg_stat_tmp: false,
  pg_subtrans: false,
  pg_tblspc: false,
  pg_twophase: true,
  pg_wal: false,
  pg_xact: true,
}
/** The directories that a restored data directory has before its files. */
export const dataDirectories = [...Object.keys(holdsFiles), 'pg_wal/archive_status', 'pg_wal/summaries']
const temporary = /^pg_internal\.init|^pgsql_tmp/

/**
 * Whether a file of a data directory belongs to a base, both when it is written and when it is restored. Configuration, access rules,
 * passwords, orders to recover and links to tablespaces do not: `planPostgres` writes what a server needs of them.
 */
export function isDataFile(name: string): boolean {
  const parts = name.split('/')
  if (parts.some((part) => temporary.test(part))) return false
  return (
    name === 'PG_VERSION' ||
    (parts.length > 1 && Object.hasOwn(holdsFiles, parts[0]!) && holdsFiles[parts[0]!]!)
  )
}

/** Adds the files of a directory and returns its directories. Skips a file that is deleted meanwhile: replaying the log deletes it too. */
async function addDirectory(archive: ArchiveWriter, dataDir: string, path: string): Promise<string[]> {
  const directories: string[] = []
  const entries = await readdir(join(dataDir, path), { withFileTypes: true })
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const own = join(path, entry.name)
    if (entry.isDirectory()) {
      if (isDataFile(join(own, 'file'))) directories.push(own, ...(await addDirectory(archive, dataDir, own)))
    } else if (entry.isFile() && isDataFile(own)) await addFile(archive, join(dataDir, own), dataPrefix + own)
  }
  return directories
}

async function addFile(archive: ArchiveWriter, path: string, name: string): Promise<void> {
  const source = createReadStream(path, { highWaterMark: 262_144 })
  const first = await new Promise<Error | undefined>((resolve) => {
    source.once('open', () => resolve(undefined)).once('error', resolve)
  })
  if (first !== undefined) return absentFile(first)
  const sink = archive.begin(name, { gzip: true })
  for await (const chunk of source) await sink.write(chunk as Buffer)
  await sink.end()
}
