/**
 * Takes backups at intervals, verifies each, and deletes expired ones. Writes the state to the database, which the API monitors. A lock
 * allows one process at a time.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { reasonOf } from '../../../domain/errors.ts'
import { connectUnlimited } from '../../../store/maintenance/dump.ts'
import {
  findBackupState,
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
  /** Throws if the backup of this name cannot be restored. */
  verify: (name: string) => Promise<void>
  log: (line: string) => void
  /** Delay before the next attempt after a failure, in ms. */
  retryMs?: number
  /** Interval at which the archived log is copied, in ms. */
  shipMs?: number
  /** Copies the rest of the log when it aborts. A backup or verification under way is abandoned and continues until the process ends. */
  signal: AbortSignal
}

const defaultRetryMs = 300_000
/** Interval at which the state is written, as a heartbeat. */
const beatMs = 15_000
/** One round of copying the log costs two short queries. */
const defaultShipMs = 5_000

/** Runs until the signal aborts or the connection to Postgres closes. */
export async function keepBackups(installation: Installation, options: KeeperOptions): Promise<void> {
  const { settings, store, log, signal, retryMs = defaultRetryMs, shipMs = defaultShipMs } = options
  const lock = await connectUnlimited(installation.databaseUrl, 'tenure backups')
  const database = openStore(installation.databaseUrl, { name: 'tenure backups', max: 2 })
  const ended = new AbortController()
  // The lock ends with the connection, so another process may take it.
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
    const isVerified = newest === undefined || (await store.find(verifiedName(newest))) !== undefined
    const former = await findBackupState(database)
    const failed = former?.to === store.address ? former.failures.verification : undefined
    // A restart verifies nothing, so the failure stays until the verification succeeds.
    if (!isVerified && failed !== undefined) state.failures.verification = failed
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
    // A process that has ended before its turn copies nothing.
    const keeper = running.aborted
      ? undefined
      : await openLogKeeper(installation, { database, store, ...settings })
    const ship = async () => void (state.log = (await keeper?.ship()) ?? state.log)
    await Promise.all([
      untilEnded(running, beatMs, note),
      keeper &&
        untilEnded(running, shipMs, async () => void (await attempt('log', ship))).then(async () => {
          if (!ended.signal.aborted) await attempt('log', keeper.shipAll)
        }),
      Promise.race([
        endOf(signal),
        takeWhenDue({
          installation,
          options: { ...options, retryMs },
          keeper,
          state,
          unverified: isVerified ? undefined : newest,
          attempt,
          running,
        }),
      ]),
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
  /** The newest backup, if an earlier process has not verified it. */
  unverified: string | undefined
  attempt: Attempt
  running: AbortSignal
}

/** Runs until the signal aborts. Retries a failed backup after `retryMs`, and a failed verification of the newest backup too. */
async function takeWhenDue(series: Series): Promise<void> {
  const { installation, options, keeper, state, attempt, running } = series
  const { settings, store, verify, log } = options
  const retryMs = Math.min(options.retryMs, settings.everyMs)
  let dueMs = state.newest === undefined ? 0 : Date.parse(state.newest.takenAt) + settings.everyMs
  let { unverified } = series
  let verifyMs = 0
  while (!running.aborted) {
    // The base comes first: no moment can be restored without it.
    if (keeper !== undefined && (await keeper.isBaseDue())) await attempt('base', keeper.writeBase)
    const startedMs = Date.now()
    if (startedMs >= dueMs) {
      const isTaken = await attempt('backup', async () => {
        const made = await writeBackup({ store }, (file) =>
          // A backup that lacks the artifact of an old version is better than none; the verification reports the missing artifact.
          makeBackup(installation, { file, snapshots: true, allowMissing: true }),
        )
        state.newest = { file: made.file, takenAt: made.taken_at, bytes: made.bytes }
        // By the time of the own backup: another process may have stored a newer one.
        unverified = backupNameOf(made.taken_at)
        verifyMs = 0
        log(`wrote ${made.file}, ${made.bytes} bytes`)
      })
      dueMs = startedMs + (isTaken ? settings.everyMs : retryMs)
    }
    const name = unverified
    if (name !== undefined && Date.now() >= verifyMs) {
      const isGood = await attempt('verification', async () => {
        await verify(name)
        await store.put(verifiedName(name), Buffer.from(`${new Date().toISOString()}\n`))
        state.verified = { file: `${store.address}/${name}`, at: new Date().toISOString() }
        for (const each of await deleteExpiredBackups(store, settings.keep)) log(`deleted ${each}`)
      })
      if (isGood) unverified = undefined
      verifyMs = Date.now() + retryMs
    }
    const nextMs = unverified === undefined ? dueMs : Math.min(dueMs, verifyMs)
    if (Date.now() < nextMs) await rest(Math.min(nextMs - Date.now(), 60_000), running)
  }
}

/**
 * Returns the name of the object that marks a backup as verified. The mark is stored beside the backup, because the database may be lost.
 */
const verifiedName = (name: string): string => `${name}.verified`

/** Deletes expired backups and returns their names. */
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

/** Waits for the lock that one process at a time holds to take backups of this database. The lock ends with the connection. */
async function takeTurn(lock: Connection, running: AbortSignal): Promise<void> {
  while (!running.aborted) {
    const { rows } = await lock.query<{ mine: boolean }>(
      `select pg_try_advisory_lock(hashtext('tenure backups')) as mine`,
    )
    if (rows[0]?.mine === true) return
    await rest(5_000, running)
  }
}

const endOf = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

async function untilEnded(running: AbortSignal, everyMs: number, work: () => Promise<void>): Promise<void> {
  while (!running.aborted) {
    await work()
    await rest(everyMs, running)
  }
}

/** Waits; ends early when the signal aborts. */
const rest = (ms: number, signal: AbortSignal): Promise<void> =>
  pause(ms, undefined, { signal }).catch(() => {})
