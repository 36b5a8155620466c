/**
 * Takes backups again and again, verifies each, and deletes those that are too old. What it comes to is a row of the database, which the API
 * watches. One process at a time does so, however many run.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { reasonOf } from '../../../domain/errors.ts'
import { connectUnlimited } from '../../../store/maintenance/dump.ts'
import {
  writeBackupState,
  type BackupPart,
  type BackupState,
} from '../../../store/maintenance/backup-state.ts'
import type { ObjectStore } from '../../../store/objects/object-store.ts'
import type { BackupSettings } from '../../../store/objects/settings.ts'
import { openStore } from '../../../store/postgres.ts'
import { backupNameOf, listBackups, timeOfName, writeBackup } from '../backup-place.ts'
import { openLogKeeper, type LogKeeper } from '../point-in-time/keep-log.ts'
import { makeBackup } from '../create.ts'
import type { Installation } from '../installation.ts'
import { expiredBackups } from '../expired-backups.ts'

export interface KeeperOptions {
  settings: BackupSettings
  /** The place of the backups. */
  store: ObjectStore
  /** Throws when the backup of this name cannot be restored. */
  verify: (name: string) => Promise<void>
  log: (line: string) => void
  /** How long after a failure the next attempt begins. */
  retryMs?: number
  /** How often the log is looked at. */
  shipMs?: number
  signal: AbortSignal
}

const defaultRetryMs = 300_000
/** How often the state is written, as a sign of life. */
const beatMs = 15_000
/** A look at the log costs two short queries. */
const defaultShipMs = 5_000

/** Runs until the signal is given, or the connection to Postgres ends. */
export async function keepBackups(installation: Installation, options: KeeperOptions): Promise<void> {
  const { settings, store, log, signal, retryMs = defaultRetryMs, shipMs = defaultShipMs } = options
  const lock = await connectUnlimited(installation.databaseUrl, 'tenure backups')
  const database = openStore(installation.databaseUrl, { name: 'tenure backups', max: 2 })
  const ended = new AbortController()
  // Another process may take the lock then.
  lock.once('end', () => ended.abort(new Error('the connection to Postgres has ended')))
  const running = AbortSignal.any([signal, ended.signal])
  try {
    await takeTurn(lock, running)
    const [newest] = (await listBackups(store)).slice(-1)
    const state: BackupState = {
      to: store.address,
      everyMs: settings.everyMs,
      since: new Date().toISOString(),
      ...(newest !== undefined && {
        newest: {
          file: `${store.address}/${newest}`,
          takenAt: timeOfName(newest),
          bytes: (await store.find(newest))?.bytes ?? 0,
        },
      }),
      failures: {},
    }
    const note = () => writeBackupState(database, state)
    const attempt = async (part: BackupPart, work: () => Promise<void>): Promise<boolean> => {
      const former = state.failures[part]
      const problem = await work().then(
        () => undefined,
        (error: unknown) => reasonOf(error),
      )
      if (problem === undefined) delete state.failures[part]
      else state.failures[part] = { at: former?.at ?? new Date().toISOString(), message: problem }
      if (problem !== undefined && problem !== former?.message) log(`${part}: ${problem}`)
      if (problem !== former?.message || part !== 'log') await note()
      return problem === undefined
    }
    const keeper = await openLogKeeper(installation, { database, store, ...settings })
    const ship = async () => void (state.log = (await keeper?.ship()) ?? state.log)
    await Promise.all([
      untilEnded(running, beatMs, note),
      keeper && untilEnded(running, shipMs, async () => void (await attempt('log', ship))),
      takeWhenDue({ installation, options: { ...options, retryMs }, keeper, state, attempt, running }),
    ])
  } finally {
    await lock.end().catch(() => {})
    await database.close()
  }
  if (!signal.aborted) throw ended.signal.reason
}

type Attempt = (part: BackupPart, work: () => Promise<void>) => Promise<boolean>

interface Series {
  keeper: LogKeeper | undefined
  installation: Installation
  options: KeeperOptions & { retryMs: number }
  state: BackupState
  attempt: Attempt
  running: AbortSignal
}

/** Ends with the signal. A failed backup is tried again after `retryMs`. */
async function takeWhenDue(series: Series): Promise<void> {
  const { installation, options, keeper, state, attempt, running } = series
  const { settings, store, verify, log, retryMs } = options
  let dueMs = state.newest === undefined ? 0 : Date.parse(state.newest.takenAt) + settings.everyMs
  while (!running.aborted) {
    // The base first: until it is there, no moment can be restored.
    if (keeper !== undefined && (await keeper.isBaseDue())) await attempt('base', keeper.writeBase)
    if (Date.now() < dueMs) {
      await rest(Math.min(dueMs - Date.now(), 60_000), running)
      continue
    }
    const startedMs = Date.now()
    const isTaken = await attempt('backup', async () => {
      const made = await writeBackup({ store }, (file) =>
        // A backup without the artifact of an old version is worth more than no backup; the verification names it.
        makeBackup(installation, { file, snapshots: true, allowMissing: true }),
      )
      state.newest = { file: made.file, takenAt: made.taken_at, bytes: made.bytes }
      log(`wrote ${made.file}, ${made.bytes} bytes`)
    })
    // By its own time: another process may have put a newer one beside it.
    const name = state.newest && backupNameOf(state.newest.takenAt)
    if (isTaken && name !== undefined)
      await attempt('verification', async () => {
        await verify(name)
        await store.put(verifiedName(name), Buffer.from(`${new Date().toISOString()}\n`))
        state.verified = { file: `${store.address}/${name}`, at: new Date().toISOString() }
        for (const each of await deleteExpiredBackups(store, settings.keep)) log(`deleted ${each}`)
      })
    dueMs = startedMs + (isTaken ? settings.everyMs : Math.min(retryMs, settings.everyMs))
  }
}

/** The object that says that a backup was verified. It lies beside the backup, because the database may be lost. */
const verifiedName = (name: string): string => `${name}.verified`

/** Returns the names of those that were deleted. */
export async function deleteExpiredBackups(store: ObjectStore, keep: number): Promise<string[]> {
  const marks = new Set<string>()
  for await (const { key } of store.list('tenure-')) marks.add(key)
  const known = (await listBackups(store)).map((name) => ({ name, isGood: marks.has(verifiedName(name)) }))
  const expired = expiredBackups(known, keep)
  for (const name of expired) {
    await store.remove(name)
    await store.remove(verifiedName(name))
  }
  return expired
}

type Connection = Awaited<ReturnType<typeof connectUnlimited>>

/** Waits until no other process takes backups of this database. The lock ends with the connection. */
async function takeTurn(lock: Connection, running: AbortSignal): Promise<void> {
  while (!running.aborted) {
    const { rows } = await lock.query<{ mine: boolean }>(
      `select pg_try_advisory_lock(hashtext('tenure backups')) as mine`,
    )
    if (rows[0]?.mine === true) return
    await rest(5_000, running)
  }
}

async function untilEnded(running: AbortSignal, everyMs: number, work: () => Promise<void>): Promise<void> {
  while (!running.aborted) {
    await work()
    await rest(everyMs, running)
  }
}

/** Ends early with the signal. */
const rest = (ms: number, signal: AbortSignal): Promise<void> =>
  pause(ms, undefined, { signal }).catch(() => {})
