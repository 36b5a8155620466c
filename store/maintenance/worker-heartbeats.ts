/**
 * Stores a heartbeat of each worker process. Raises an alert when no worker of a kind sends one, when one of several does not, or when
 * none reaches Temporal. Temporal cannot tell: it lists a frozen worker as polling for minutes.
 */
import { isProcess } from '../process-identity.ts'
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import { writeServiceState } from '../database/key-value.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert, type NewAlert } from '../monitoring/alerts.ts'
import type { Database, Store } from '../postgres.ts'

export type WorkerKind = 'control' | 'train'

export interface WorkerHeartbeat {
  kind: WorkerKind
  /** `host/pid` */
  process: string
  /** The task queue that it polls. */
  queue: string
  ageMs: number
  /** Whether it was stopped on purpose. */
  ended: boolean
  /** How long Temporal has not responded to it. */
  temporalSilentMs: number
  /** The fingerprints of its payload keys, the newest first. */
  payloadKeys: readonly { id: string; mark: string }[]
}

const beatMs = 5_000
/** A worker without a sign for this long is silent. */
export const silentMs = 30_000
/** A process that is silent for longer than this, while others live, is gone with its machine. */
const goneMs = 600_000
const prefix = 'worker/'

/** The newest heartbeat of each worker process of the last day. */
export const listHeartbeats = (database: Database) =>
  rowsFrom(database).list<WorkerHeartbeat>(sql`
    select value ->> 'kind' as kind, value ->> 'process' as process, value ->> 'queue' as queue, coalesce((value ->> 'ended')::boolean, false) as ended,
      coalesce((value ->> 'temporalSilentMs')::float8, 0) as temporal_silent_ms,
      value -> 'payloadKeys' as payload_keys,
      extract(epoch from clock_timestamp() - at)::float8 * 1000 as age_ms
    from service_state where name like ${`${prefix}%`} and at > now() - interval '1 day' order by at desc`)

/** Marks the workers of a restored database as ended: they ran before it. A worker that lives gives its next sign within seconds. */
export async function endWorkers(database: Database): Promise<void> {
  await database.query(
    sql`update service_state set value = value || '{"ended": true}' where name like ${`${prefix}%`}`,
  )
}

/** Whether a worker of the task queue lives and reaches Temporal. A worker that is busy with all it may take does not poll. */
export const hasLiveWorker = (heartbeats: readonly WorkerHeartbeat[], queue: string): boolean =>
  heartbeats.some(
    (each) =>
      each.queue === queue && !each.ended && each.ageMs <= silentMs && each.temporalSilentMs <= silentMs,
  )

export interface SilentWorker extends Pick<WorkerHeartbeat, 'kind' | 'process' | 'ageMs'> {
  /** Whether no other worker of its kind sends a heartbeat. */
  isLast: boolean
}

/** The last worker of each kind without any live worker, and single silent workers beside live ones. */
export function silentWorkers(heartbeats: readonly WorkerHeartbeat[], afterMs = silentMs): SilentWorker[] {
  const newest = new Map<WorkerKind, WorkerHeartbeat>()
  for (const each of heartbeats.toSorted((a, b) => b.ageMs - a.ageMs)) newest.set(each.kind, each)
  return heartbeats.flatMap((each): SilentWorker[] => {
    if (each.ageMs <= afterMs) return []
    const last = newest.get(each.kind)
    if (last === each) return [{ ...each, isLast: true }]
    const isBesideOthers = last !== undefined && last.ageMs <= afterMs
    return isBesideOthers && !each.ended && each.ageMs <= goneMs ? [{ ...each, isLast: false }] : []
  })
}

export interface Repeated {
  stop(): Promise<void>
}

/** Writes a heartbeat now and periodically, and a final one at the end. */
export function keepHeartbeat(
  store: Store,
  worker: Pick<WorkerHeartbeat, 'kind' | 'process' | 'queue' | 'payloadKeys'>,
  onError: (error: unknown) => void,
  hasTemporal: () => Promise<boolean> = () => Promise.resolve(true),
): Repeated {
  let answeredAt = performance.now()
  const beat = async () => {
    if (await hasTemporal()) answeredAt = performance.now()
    const temporalSilentMs = Math.round(performance.now() - answeredAt)
    await writeServiceState(store, nameOf(worker), { ...worker, temporalSilentMs })
    await store.query(
      sql`delete from service_state where name like ${`${prefix}%`} and at < now() - interval '1 day'`,
    )
  }
  const forgotten = forgetKilled(store, worker.process).catch(onError)
  const beats = repeatRounds(beat, { everyMs: beatMs, atOnce: true, onError })
  return {
    async stop() {
      await forgotten
      await beats.stop()
      await writeServiceState(store, nameOf(worker), { ...worker, ended: true }).catch(onError)
    },
  }
}

const nameOf = ({ kind, process }: Pick<WorkerHeartbeat, 'kind' | 'process'>): string =>
  `${prefix}${kind}/${process}`

/** Deletes the rows of processes of this host that no longer exist: they were killed and are not silent. */
async function forgetKilled(store: Store, own: string): Promise<void> {
  const host = own.slice(0, own.lastIndexOf('/') + 1)
  const killed = (await listHeartbeats(store)).filter(
    ({ process }) =>
      process !== own && process.startsWith(host) && !isProcess(Number(process.slice(host.length))),
  )
  if (killed.length > 0)
    await store.query(sql`delete from service_state where name = any(${killed.map(nameOf)})`)
}

/**
 * The ages of heartbeats as far as they could be stored: while Postgres was away, or the process that looks was frozen, no sign of a worker
 * could arrive, so its silence counts from then on.
 */
export function heardBy(afterMs: number) {
  let lookedMs: number | undefined
  let heardMs = -Infinity
  return (heartbeats: readonly WorkerHeartbeat[], nowMs: number): WorkerHeartbeat[] => {
    if (lookedMs !== undefined && nowMs - lookedMs > missedShare * afterMs) heardMs = nowMs
    lookedMs = nowMs
    return heartbeats.map((each) => ({ ...each, ageMs: Math.min(each.ageMs, nowMs - heardMs) }))
  }
}
/** Of the time after which a worker is silent: without a look for this long, a heartbeat of just before is as old. */
const missedShare = 0.8

/** Checks for silent workers. Runs in the API, because a silent worker cannot report itself. */
export function watchWorkers(
  store: Store,
  onError: (error: unknown) => void,
  { everyMs = 15_000, afterMs = silentMs }: { everyMs?: number; afterMs?: number } = {},
): Repeated {
  const heard = heardBy(afterMs)
  const look = async () => {
    const heartbeats = heard(await listHeartbeats(store), performance.now())
    const alerts = [
      ...silentWorkers(heartbeats, afterMs).map(alertOf),
      ...temporalAlerts(heartbeats, afterMs),
    ]
    for (const alert of alerts) await upsertAlert(store, alert)
    const raised = new Set(alerts.map(({ dedupeKey }) => dedupeKey))
    for (const key of await listOpenAlertKeys(store, ['worker_silent', 'temporal_unavailable']))
      if (!raised.has(key)) await resolveAlert(store, key, 'heartbeats arrive again')
  }
  return repeatRounds(look, { everyMs, atOnce: false, onError })
}

const consequence: Record<WorkerKind, string> = {
  control: 'No release, monitor or rollback of a workflow continues.',
  train: 'No training or batch prediction continues.',
}

function alertOf({ kind, process, ageMs, isLast }: SilentWorker): NewAlert {
  const silence = `sent a heartbeat for ${Math.round(ageMs / 1_000)} s`
  return {
    dedupeKey: isLast ? `worker_silent/${kind}` : `worker_silent/${kind}/${process}`,
    kind: 'worker_silent',
    severity: isLast ? 'critical' : 'warning',
    message: isLast
      ? `No ${kind} worker has ${silence}; the last one was ${process}. ${consequence[kind]} Restart it.`
      : `The ${kind} worker ${process} has not ${silence}, others have. Its tasks wait until a timeout hands them to another worker. End the process, if it still exists.`,
    evidence: { worker: kind, process },
  }
}

/** Temporal counts as unreachable when no live control worker reaches it. */
function temporalAlerts(heartbeats: readonly WorkerHeartbeat[], afterMs: number): NewAlert[] {
  const live = heartbeats.filter(({ kind, ended, ageMs }) => kind === 'control' && !ended && ageMs <= afterMs)
  const [longest] = live.toSorted((a, b) => b.temporalSilentMs - a.temporalSilentMs)
  if (longest === undefined || live.some(({ temporalSilentMs }) => temporalSilentMs <= afterMs)) return []
  return [temporalAlert(longest)]
}

export const temporalAlert = ({
  process,
  temporalSilentMs,
}: Pick<WorkerHeartbeat, 'process' | 'temporalSilentMs'>): NewAlert => ({
  dedupeKey: 'temporal_unavailable',
  kind: 'temporal_unavailable',
  severity: 'critical',
  message: `Temporal has not answered the control worker ${process} for ${Math.round(temporalSilentMs / 1_000)} s. No release, retraining or monitor continues. Start Temporal, or restore the connection to it: \`tenure doctor\` names its address.`,
  evidence: { process },
})

/** Runs rounds one after another; each waits for the end of the previous one. */
export function repeatRounds(
  work: () => Promise<void>,
  { everyMs, atOnce, onError }: { everyMs: number; atOnce: boolean; onError: (error: unknown) => void },
): Repeated {
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let running = Promise.resolve()
  const round = () => {
    running = work()
      .catch(onError)
      .then(() => {
        if (!stopped) timer = setTimeout(round, everyMs)
      })
  }
  if (atOnce) round()
  else timer = setTimeout(round, everyMs)
  return {
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}
