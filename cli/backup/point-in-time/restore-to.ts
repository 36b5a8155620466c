/**
 * Restores the embedded Postgres to a moment: unpacks the newest base before the moment and replays the log up to it. The work happens in a
 * draft directory, which replaces the data directory at the end.
 */
import { existsSync } from 'node:fs'
import { chown, mkdir, readdir, rename, rm, writeFile, open, readFile, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { headFiles } from '../../../store/audit/signed-heads.ts'
import { openSharedArtifacts } from '../../../store/objects/artifact-copies.ts'
import { openDump } from '../../../store/maintenance/dump.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import { openPublicKeys, trustIn } from '../../../store/signing/signing-key.ts'
import { environmentWith, readCommandConfig, readConfig, type Config } from '../../../temporal.config.ts'
import { failure, usageError } from '../../client/client.ts'
import { renewOwnerPassword, serverUser, startPostgres, writeServerFiles } from '@tenure/embedded'
import { archivedLogOf, embeddedDataDir, openStateDir } from '../../state-dir.ts'
import { claim } from '../../supervisor/pidfile.ts'
import { completePointInTimeRestore, type RestoredState } from '../after-restore.ts'
import { fetchBackup } from '../backup-place.ts'
import { damaged, openArchive } from '../read-archive.ts'
import { untrusted } from '../restore.ts'
import { readManifest, requireIntact } from '../verify.ts'
import { downloadArtifacts } from './copy-artifacts.ts'
import { decodeLogFile, gapIn, isLogFile, isSegment, positionOf } from './log-segment.ts'
import { headsKey, listBases, listLog, logKey, type BaseName } from './places.ts'
import {
  baseFormat,
  dataDirectories,
  dataPrefix,
  isDataFile,
  labelName,
  type BaseManifest,
} from './write-base.ts'
import { absentFile } from '../../../store/absent-file.ts'
import { makeForeignFolder, writeForeignFile } from '../../../store/foreign/foreign-archive.ts'

export interface RestoreToOptions {
  store: ObjectStore
  /** ISO 8601; undefined for the newest moment. */
  at?: string
  replace: boolean
  reSign: boolean
  actor: string
  onProgress?: (what: string) => void
}

export interface RestoredTo extends RestoredState {
  /** The address of the base. */
  file: string
  /** The time of the last restored transaction, as Postgres reports it. */
  restored_to: string
  log_files: number
  artifacts: number
  missing: string[]
  set_aside: string[]
}

/** Time limit of a recovery. Replaying a large log takes hours; a hanging start is ended. */
const recoveryMs = 4 * 3_600_000
/** A restore also fetches the first log file written later than this after the moment, and none after it. */
const marginMs = 600_000

export async function restoreTo(options: RestoreToOptions): Promise<RestoredTo> {
  const { store, at, onProgress } = options
  const command = readCommandConfig()
  if ((command.ownerDatabaseUrl ?? command.databaseUrl) !== undefined)
    throw usageError(
      '--at restores the Postgres that `tenure up` starts, and DATABASE_URL names another one',
      'Restore that server by its own means, then run `tenure restore --after-point-in-time`.',
    )
  const stateDir = openStateDir(command.stateDir)
  const dataDir = embeddedDataDir(stateDir)
  if (existsSync(join(dataDir, 'PG_VERSION')) && !options.replace)
    throw usageError(
      `there is a database in ${dataDir}`,
      'Add --replace: it is kept beside the restored one.',
    )
  const { base, log } = await choose(store, { at, spool: archivedLogOf(stateDir) })
  const configOn = (databaseUrl: string): Config =>
    readConfig(environmentWith({ DATABASE_URL: databaseUrl, TENURE_STATE: stateDir }))
  const config = configOn('postgres://127.0.0.1/none')
  const held = await claim(join(stateDir, 'supervisor.json'))
  const draft = `${dataDir}.restored`
  const replay = `${dataDir}.replay`
  try {
    for (const each of [draft, replay]) await rm(each, { recursive: true, force: true })
    const signedMs = await unpackBase({ store, base, draft, config }, options)
    await fetchLog({ store, base, log, replay, config }, { signedMs, onProgress })
    onProgress?.('replaying the log')
    const archiveTo = command.backups && archivedLogOf(stateDir)
    const restoredTo = await recover({ draft, replay, archiveTo, at })
    const server = await startPostgres({ dataDir: draft, archiveTo })
    held.note([{ pid: server.pid }])
    let settled: Awaited<ReturnType<typeof complete>>
    try {
      settled = await complete(configOn(server.url), { store, databaseUrl: server.url, options })
    } finally {
      await server.stop()
    }
    if (existsSync(dataDir)) await rename(dataDir, `${dataDir}.before-epoch-${settled.epoch}`)
    await rename(draft, dataDir)
    return {
      file: `${store.address}/${base.key}`,
      restored_to: restoredTo,
      log_files: log.length,
      ...settled,
    }
  } finally {
    for (const each of [draft, replay]) await rm(each, { recursive: true, force: true })
    held.release()
  }
}

/** Chooses the newest base before the moment whose log has no gap, and the log files to replay. Throws `otherwise` without such a base. */
async function choose(
  store: ObjectStore,
  { at, spool }: { at: string | undefined; spool: string },
): Promise<{ base: BaseName; log: FoundLogFile[] }> {
  const bases = (await listBases(store)).filter(({ endedAt }) => at === undefined || endedAt <= at)
  const problems: string[] = []
  for (const base of bases.toReversed()) {
    const all = await findLog(store, { systemId: base.systemId, spool })
    const untilMs = at === undefined ? Infinity : Date.parse(at) + marginMs
    const late = all.findIndex(({ name, writtenMs }) => isSegment(name) && writtenMs > untilMs)
    const log = all.filter(({ name }, index) => {
      const isNeeded = positionOf(name) >= positionOf(base.startSegment) && (late < 0 || index <= late)
      return !isSegment(name) || isNeeded
    })
    const gap = gapIn(log.map(({ name }) => name).filter(isSegment), base)
    if (gap === undefined) return { base, log }
    const before = log.filter(({ name }) => !isSegment(name) || positionOf(name) < gap)
    // A file that was written after the moment ends the replay, whatever is missing behind it.
    const reaches =
      at !== undefined && before.some((each) => isSegment(each.name) && each.writtenMs > Date.parse(at))
    if (reaches && gap > positionOf(base.stopSegment)) return { base, log: before }
    problems.push(`${base.key}: the log file ${gap} is missing`)
  }
  throw failure({
    code: 'otherwise',
    detail:
      problems.length === 0
        ? `${store.address} has no base ${at === undefined ? '' : `from before ${at} `}to begin with`
        : `${store.address} cannot be restored to ${at ?? 'its newest moment'}: ${problems.join('; ')}`,
    remedy:
      problems.length === 0
        ? 'Name a later moment, or restore a backup without --at. Nothing was changed.'
        : 'Name a moment before the missing file was written or, where a later base was kept, after it, or restore a backup without --at. Nothing was changed.',
  })
}

/** A file of the log in the store or, with `read`, on this machine only. */
type FoundLogFile = Omit<LocalLogFile, 'read'> & Partial<Pick<LocalLogFile, 'read'>>

/**
 * Lists the copied files and those of this machine that are not copied yet, sorted by name. A timeline without copies is left out: it began
 * with an earlier restore, and nothing ran on it.
 */
async function findLog(
  store: ObjectStore,
  { systemId, spool }: { systemId: string; spool: string },
): Promise<FoundLogFile[]> {
  const copied = (await listLog(store, systemId)).filter(({ name }) => isLogFile(name))
  const names = new Set(copied.map(({ name }) => name))
  const timelines = new Set(copied.map(({ name }) => timelineOf(name)))
  const local = (await listLocalLog(spool, systemId)).filter(
    ({ name }) => !names.has(name) && timelines.has(timelineOf(name)),
  )
  return [...copied, ...local].toSorted((one, other) => (one.name < other.name ? -1 : 1))
}

const timelineOf = (name: string): string => name.slice(0, 8)

interface Unpacked {
  store: ObjectStore
  base: BaseName
  draft: string
  config: Config
}

/** Returns the signing time to assume for the log: 0 for a key that is no longer in use, undefined for now. */
export async function unpackBase(
  { store, base, draft, config }: Unpacked,
  { reSign, onProgress }: Pick<RestoreToOptions, 'reSign' | 'onProgress'>,
): Promise<number | undefined> {
  const local = await fetchBackup({ store, name: base.key })
  try {
    const archive = await openArchive(local)
    const manifest = await readManifest<BaseManifest>(archive, local.name, baseFormat)
    await requireIntact(archive, manifest, { file: local.name, onProgress })
    const isAsNamed = (['systemId', 'startSegment', 'stopSegment'] as const).every(
      (field) => manifest[field] === base[field],
    )
    if (!isAsNamed) throw damaged(local.name, 'its name is that of another base')
    const trust = trustIn(config.signing, 'artifacts', manifest.publicKey)
    if (trust !== 'in use' && !reSign) throw untrusted(trust, config.signing.trust)
    // A database without tables has a folder and no file.
    const directories = manifest.directories.filter((name) => isDataFile(`${name}/file`))
    for (const name of [...dataDirectories, ...directories]) await makeForeignFolder(draft, name)
    await writeForeignFile(draft, labelName, archive.read(labelName))
    for (const entry of Object.keys(manifest.entries)) {
      const name = entry.slice(dataPrefix.length)
      if (entry.startsWith(dataPrefix) && isDataFile(name))
        await writeForeignFile(draft, name, archive.unpack(entry))
    }
    return trust === 'in use' ? undefined : 0
  } finally {
    await local.remove()
  }
}

/** Downloads the log. Verifies each downloaded file before Postgres reads it. */
async function fetchLog(
  { store, base, log, replay, config }: { log: FoundLogFile[]; replay: string } & Omit<Unpacked, 'draft'>,
  { signedMs, onProgress }: { signedMs: number | undefined; onProgress: RestoreToOptions['onProgress'] },
): Promise<void> {
  const user = serverUser()
  const verifier = openPublicKeys(config.signing, 'artifacts')
  await mkdir(replay, { mode: 0o700 })
  if (user !== undefined) await chown(replay, user, user)
  const download = async (name: string): Promise<Buffer> => {
    const key = logKey(base.systemId, name)
    const address = `${store.address}/${key}`
    const object = await store.get(key)
    if (object === undefined) throw damaged(address, 'it is missing')
    return decodeLogFile({ systemId: base.systemId, name }, object, { verifier, signedMs, address })
  }
  for (const [index, { name, read }] of log.entries()) {
    onProgress?.(`log file ${index + 1} of ${log.length}`)
    const bytes = await (read === undefined ? download(name) : read())
    await writeForeignFile(replay, name, Readable.from([bytes]))
    if (user !== undefined) await chown(join(replay, name), user, user)
  }
}

/** Starts Postgres to replay the log and end its recovery. Returns the time of the last transaction, as Postgres logs it. */
async function recover(place: {
  draft: string
  replay: string
  archiveTo: string | undefined
  at: string | undefined
}): Promise<string> {
  const { draft, replay, archiveTo, at } = place
  await writeFile(join(draft, 'recovery.signal'), '', { mode: 0o600 })
  writeServerFiles(draft)
  await chownToServer(draft)
  const path = `'${replay.replaceAll("'", String.raw`'\''`)}'`.replaceAll('%', '%%')
  const settings = {
    restore_command: `cp ${path}/%f "%p"`,
    recovery_target_timeline: 'latest',
    recovery_target_action: 'promote',
    // Makes Postgres ready only when it accepts writes.
    hot_standby: 'off',
    // At this point of the start, Postgres knows no time zone names, and `Z` is one.
    ...(at !== undefined && { recovery_target_time: at.replace('Z', '+00') }),
  }
  let last = at ?? ''
  const log = (line: string): void => void (last = lastTransaction.exec(line)?.[1] ?? last)
  const server = await startPostgres({ dataDir: draft, archiveTo, settings, log, readyMs: recoveryMs }).catch(
    (error: Error) => {
      const isTooLate = error.message.includes('before configured recovery target was reached')
      throw failure({
        code: 'otherwise',
        detail: isTooLate
          ? `nothing was written after ${at}, or it was not copied before the machine was lost`
          : error.message,
        remedy: isTooLate
          ? 'Restore the newest moment with `--at latest`. Nothing was changed.'
          : 'Nothing was changed. Restore a backup without --at.',
      })
    },
  )
  await server.stop()
  renewOwnerPassword(draft)
  return last
}

const lastTransaction = /last completed transaction was at log time (.+)$/

/** Gives the files to the user that runs Postgres, when this process is root. */
async function chownToServer(draft: string): Promise<void> {
  const user = serverUser()
  if (user === undefined) return
  await chown(draft, user, user)
  for (const entry of await readdir(draft, { withFileTypes: true, recursive: true }))
    await chown(join(entry.parentPath, entry.name), user, user)
}

async function complete(
  config: Config,
  { store, databaseUrl, options }: { store: ObjectStore; databaseUrl: string; options: RestoreToOptions },
) {
  const { actor, onProgress } = options
  const dump = await openDump(databaseUrl)
  await dump.close()
  onProgress?.('restoring the artifacts')
  const { brought, missing } = await downloadArtifacts(dump.references, {
    artifacts: openSharedArtifacts(config),
    store,
  })
  const [heads = ''] = headFiles(config)
  const copy = existsSync(heads) ? undefined : await store.get(headsKey)
  if (copy !== undefined) {
    await mkdir(dirname(heads), { recursive: true, mode: 0o700 })
    await writeFile(heads, copy)
  }
  const settled = await completePointInTimeRestore({ config, databaseUrl }, actor)
  return { ...settled, artifacts: brought, missing }
}

// Finds the log files that Postgres has archived on this machine and that are not copied yet, because the place did not answer or the
// process that copies them was killed.

interface LocalLogFile {
  name: string
  writtenMs: number
  read(): Promise<Buffer>
}

/** `spool`: the directory to which Postgres archives. It may also hold files of another database. */
async function listLocalLog(spool: string, systemId: string): Promise<LocalLogFile[]> {
  const names = ((await readdir(spool).catch(absentFile)) ?? []).filter(isSegment)
  const files: LocalLogFile[] = []
  for (const name of names) {
    const path = join(spool, name)
    if ((await systemOf(path)) !== systemId) continue
    files.push({ name, writtenMs: (await stat(path)).mtimeMs, read: () => readFile(path) })
  }
  return files
}

/** The offset of the system identifier in the header of a segment's first page. */
const systemOffset = 24

async function systemOf(path: string): Promise<string | undefined> {
  const file = await open(path)
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(8), 0, 8, systemOffset)
    return bytesRead === 8 ? buffer.readBigUInt64LE().toString() : undefined
  } finally {
    await file.close()
  }
}
