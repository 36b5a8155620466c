/**
 * Keeps every moment of the embedded Postgres restorable. Copies its log and new artifacts continuously, and writes a new base copy of the
 * data directory at intervals, so that a restore never replays more than one interval of log.
 */
import { readFile, realpath, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { headFiles } from '../../../store/audit/signed-heads.ts'
import { absentFile } from '../../../store/absent-file.ts'
import {
  endLogFile,
  findArchivingServer,
  findTimeline,
  readArchiver,
  wakeArchiving,
} from '../../../store/maintenance/log-archive.ts'
import { findReferences, type References } from '../../../store/maintenance/dump.ts'
import { openSharedArtifacts } from '../../../store/objects/artifact-copies.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import type { Database } from '../../../store/postgres.ts'
import { openSigner, type Signer } from '../../../store/signing/signing-key.ts'
import { failure } from '../../client/client.ts'
import { archivedLogOf, embeddedDataDir } from '../../state-dir.ts'
import { withFolder } from '../backup-place.ts'
import type { Installation } from '../installation.ts'
import { expiredBackups } from '../expired-backups.ts'
import { copyArtifacts, listCopies } from './copy-artifacts.ts'
import {
  isSegment,
  isRestorable,
  positionOf,
  decodeLogFile,
  encodeLogFile,
  isLogFile,
} from './log-segment.ts'
import { baseKey, headsKey, listBases, listLog, logKey, copyKey, unnamedKey } from './places.ts'
import { writeBase } from './write-base.ts'
import { getManifest, type Artifacts } from '../../../store/artifacts.ts'
import { parseJson } from '../../../domain/parse-json.ts'

export interface LogKeeper {
  /** Copies new log files and artifacts. Returns the restorable span; undefined before the first base. */
  ship(): Promise<{ from: string; to: string } | undefined>
  /** Copies all that was written until now: ends the log file in use and waits until Postgres has archived it. */
  shipAll(): Promise<void>
  /** Whether the newest base is of another timeline, older than the interval, or followed by a gap in the log. */
  isBaseDue(): Promise<boolean>
  /** Writes a base, and deletes bases, log files and artifact copies that are no longer needed. */
  writeBase(): Promise<void>
}

export interface LogKeeperOptions {
  store: ObjectStore
  everyMs: number
  /** The number of bases to keep. */
  keep: number
}

/** Time limit for Postgres to archive the last log file, and the interval at which it is looked for. */
const archiveMs = 10_000
const lookMs = 50

/** Returns undefined if this Postgres is not the embedded one of this state directory, or does not archive its log. */
export async function openLogKeeper(
  { databaseUrl, config }: Pick<Installation, 'databaseUrl' | 'config'>,
  { database, store, everyMs, keep }: LogKeeperOptions & { database: Database },
): Promise<LogKeeper | undefined> {
  const dataDir = embeddedDataDir(config.stateDir)
  const server = await findArchivingServer(database)
  if (
    server === undefined ||
    !server.archives ||
    (await realPath(server.dataDir)) !== (await realPath(dataDir))
  )
    return undefined
  await wakeArchiving(database)
  const { systemId } = server
  const spool = archivedLogOf(config.stateDir)
  const signer = await openSigner(config.signing, 'artifacts')
  const artifacts = openSharedArtifacts(config)
  const copied = await listCopies(store)
  let bases = (await listBases(store)).filter((base) => base.systemId === systemId)
  const segments = (await listLog(store, systemId)).map(({ name }) => name).filter(isSegment)
  let headsSent = ''
  const sendHeads = async (): Promise<void> => {
    const heads = await readFile(headFiles(config)[0]!, 'utf8').catch(absentFile)
    if (heads === undefined || heads === headsSent) return
    await store.put(headsKey, Buffer.from(heads))
    headsSent = heads
  }
  const shipOnce = async (): Promise<void> => {
    segments.push(...(await shipLog({ store, spool, systemId, signer })).filter(isSegment))
  }
  // `writeBase` may ship the log while a round of `ship` runs, so the calls are serialised.
  let turn = Promise.resolve()
  const shipNow = (): Promise<void> => (turn = turn.catch(() => {}).then(shipOnce))
  const keeper: LogKeeper = {
    async ship() {
      const { archivedAt, failedAt } = await readArchiver(database)
      await shipNow()
      await copyArtifacts(await findReferences(database), { artifacts, store, copied })
      await sendHeads()
      if (failedAt !== undefined && (archivedAt === undefined || failedAt > archivedAt))
        throw failure({
          code: 'otherwise',
          detail: `Postgres cannot write its log to ${spool} (since ${failedAt})`,
          remedy: 'Make room on the disk, and let the user of Postgres write there.',
        })
      // Oldest first: behind a gap only the bases after it lead to the newest moment.
      const from = bases.find((base) => isRestorable(segments, base))?.endedAt
      return from === undefined || archivedAt === undefined ? undefined : { from, to: archivedAt }
    },
    async shipAll() {
      const last = await endLogFile(database)
      const isCopied = () =>
        last === undefined || segments.some((name) => positionOf(name) >= positionOf(last))
      const deadline = Date.now() + archiveMs
      for (await shipNow(); !isCopied() && Date.now() < deadline; await shipNow()) await pause(lookMs)
      await keeper.ship()
      if (!isCopied())
        throw failure({
          code: 'otherwise',
          detail: `Postgres has not written its log file ${last} to ${spool} within ${archiveMs / 1_000} s`,
          remedy: 'The next start of `tenure up` copies it.',
        })
    },
    async isBaseDue() {
      const last = bases.at(-1)
      if (last === undefined || !isRestorable(segments, last)) return true
      if (Date.now() - Date.parse(last.endedAt) >= everyMs) return true
      return last.stopSegment.slice(0, 8) !== (await findTimeline(database))
    },
    async writeBase() {
      await withFolder(async (folder) => {
        const path = join(folder, 'base.tar')
        const base = await writeBase({ databaseUrl, dataDir, signer }, path)
        await store.put(baseKey(base), { path }, { ifAbsent: true })
      })
      await shipNow()
      await deleteOldBases(store, keep)
      await expireCopies(await findReferences(database), { store, artifacts, copied, systemId })
      bases = (await listBases(store)).filter((base) => base.systemId === systemId)
    },
  }
  return keeper
}

const realPath = (path: string): Promise<string | undefined> => realpath(path).catch(() => undefined)

/** Deletes the oldest bases, and the log files that no remaining base needs. Bases are complete copies, so each counts as good. */
export async function deleteOldBases(store: ObjectStore, keep: number): Promise<void> {
  const bases = await listBases(store)
  const expired = new Set(
    expiredBackups(
      bases.map(({ key }) => ({ name: key, isGood: true })),
      keep,
    ),
  )
  if (expired.size === 0) return
  for (const systemId of new Set(bases.map((base) => base.systemId))) {
    const first = bases.find(({ key, systemId: own }) => own === systemId && !expired.has(key))?.startSegment
    for (const { name } of await listLog(store, systemId))
      if (isSegment(name) && (first === undefined || positionOf(name) < positionOf(first)))
        await store.remove(logKey(systemId, name))
  }
  for (const key of expired) await store.remove(key)
}

// Deletes copies of artifacts and snapshots that no possible restore needs. A file beside the copies records when each copy was first found
// unreferenced. A copy is deleted once every base is newer than that time.

export interface CopyRetention {
  store: ObjectStore
  artifacts: Artifacts
  /** Keys of the copies. The keys of deleted copies are removed from this set. */
  copied: Set<string>
  systemId: string
  now?: Date
}

/** Key → the time at which the copy was first found unreferenced, as ISO 8601. */
type Unnamed = Record<string, string>

/**
 * Returns the keys of the deleted copies. Deletes nothing if a manifest is unreadable or the store also holds bases of another database.
 */
export async function expireCopies(
  { manifests, snapshots, subjectLists }: References,
  { store, artifacts, copied, systemId, now = new Date() }: CopyRetention,
): Promise<string[]> {
  const bases = await listBases(store)
  const [oldest] = bases
  if (oldest === undefined || bases.some((base) => base.systemId !== systemId)) return []
  const named = new Set([...snapshots, ...subjectLists].map((digest) => copyKey('snapshots', digest)))
  for (const { digest } of manifests) {
    const manifest = await getManifest(artifacts, digest).catch(() => undefined)
    if (manifest === undefined) return []
    for (const each of [{ digest }, ...Object.values(manifest.files)])
      named.add(copyKey('artifacts', each.digest))
  }
  const known = await readUnnamed(store)
  const unnamed: Unnamed = {}
  const expired: string[] = []
  for (const key of copied) {
    if (named.has(key)) continue
    const since = known[key] ?? now.toISOString()
    if (since < oldest.endedAt) expired.push(key)
    else unnamed[key] = since
  }
  for (const key of expired) {
    await store.remove(key)
    copied.delete(key)
  }
  if (JSON.stringify(unnamed) !== JSON.stringify(known))
    await store.put(unnamedKey, Buffer.from(JSON.stringify(unnamed)))
  return expired
}

/** Reads the times; empty if the file is lost or damaged, which only keeps the copies longer. */
async function readUnnamed(store: ObjectStore): Promise<Unnamed> {
  const bytes = await store.get(unnamedKey)
  const read = bytes && parseJson<unknown>(bytes.toString())
  return typeof read === 'object' && read !== null ? (read as Unnamed) : {}
}

// Copies the log files that Postgres has archived in a local directory to the object store, and deletes the copied files.

export interface LogShipment {
  store: ObjectStore
  /** The directory to which Postgres archives. */
  spool: string
  systemId: string
  signer: Signer
}

/** Returns the names of the files that are now in the store. A file stays in the directory until it is copied. */
async function shipLog({ store, spool, systemId, signer }: LogShipment): Promise<string[]> {
  const found = await readdir(spool)
  // A base backup and the end of a timeline leave these files; no restore reads them.
  for (const name of found) if (/\.(backup|partial)$/.test(name)) await rm(join(spool, name))
  const names = found.filter(isLogFile).toSorted()
  for (const name of names) {
    const bytes = await readFile(join(spool, name))
    const key = logKey(systemId, name)
    const object = await encodeLogFile({ systemId, name }, bytes, signer)
    if (!(await store.put(key, object, { ifAbsent: true })))
      await requireSameFile(store, { key, systemId, name, bytes, signer })
    await rm(join(spool, name))
  }
  return names
}

/** Checks that an existing object equals the file. An earlier process may have been killed between copying and deleting it. */
async function requireSameFile(
  store: ObjectStore,
  {
    key,
    systemId,
    name,
    bytes,
    signer,
  }: { key: string; systemId: string; name: string; bytes: Buffer; signer: Signer },
): Promise<void> {
  const address = `${store.address}/${key}`
  const object = await store.get(key)
  if (object === undefined) return
  const there = await decodeLogFile({ systemId, name }, object, { verifier: signer, address })
  if (there.equals(bytes)) return
  throw failure({
    code: 'otherwise',
    detail: `${address} already exists with other bytes: another copy of this database archives to the same place`,
    remedy: 'Stop one of the two databases, or set another TENURE_BACKUP_TO for it.',
  })
}
