/**
 * Stores a sign of life of each worker process, and raises an alert while none of a kind gives one. Temporal cannot tell: it lists a
 * frozen worker as polling for minutes.
 */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import { writeServiceState } from '../database/key-value.ts'
import { resolveAlert, upsertAlert } from '../monitoring/alerts.ts'
import type { Database, Store } from '../postgres.ts'

export type WorkerKind = 'control' | 'train'

export interface WorkerHeartbeat {
  kind: WorkerKind
  /** `host/pid` */
  process: string
  ageMs: number
}

const beatMs = 5_000
/** A worker without a sign for this long is silent. */
export const silentMs = 30_000
const prefix = 'worker/'

/** The newest sign of each worker process of the last day. */
export const listHeartbeats = (database: Database) =>
  rowsFrom(database).list<WorkerHeartbeat>(sql`
    select value ->> 'kind' as kind, value ->> 'process' as process,
      extract(epoch from clock_timestamp() - at)::float8 * 1000 as age_ms
    from service_state where name like ${`${prefix}%`} and at > now() - interval '1 day' order by at desc`)

/** The kinds of which workers have run and none gives a sign, with the age of the last one. */
export function silentKinds(
  heartbeats: readonly WorkerHeartbeat[],
  afterMs = silentMs,
): { kind: WorkerKind; process: string; ageMs: number }[] {
  const newest = new Map<WorkerKind, WorkerHeartbeat>()
  for (const each of heartbeats.toSorted((a, b) => b.ageMs - a.ageMs)) newest.set(each.kind, each)
  return [...newest.values()].filter(({ ageMs }) => ageMs > afterMs)
}

export interface Repeated {
  stop(): Promise<void>
}

/** Gives a sign of life at once and again and again. */
export function keepHeartbeat(
  store: Store,
  { kind, process }: Pick<WorkerHeartbeat, 'kind' | 'process'>,
  onError: (error: unknown) => void,
): Repeated {
  const beat = async () => {
    await writeServiceState(store, `${prefix}${kind}/${process}`, { kind, process })
    await store.query(
      sql`delete from service_state where name like ${`${prefix}%`} and at < now() - interval '1 day'`,
    )
  }
  return repeat(beat, { everyMs: beatMs, atOnce: true, onError })
}

/** Looks for silent kinds of workers. Runs in the API, because a silent worker cannot tell of itself. */
export function watchWorkers(
  store: Store,
  onError: (error: unknown) => void,
  { everyMs = 15_000, afterMs = silentMs }: { everyMs?: number; afterMs?: number } = {},
): Repeated {
  let told = new Set<WorkerKind>(['control', 'train'])
  const look = async () => {
    const silent = silentKinds(await listHeartbeats(store), afterMs)
    for (const each of silent) await upsertAlert(store, alertOf(each))
    const kinds = new Set(silent.map(({ kind }) => kind))
    for (const kind of told) if (!kinds.has(kind)) await resolveAlert(store, keyOf(kind))
    told = kinds
  }
  return repeat(look, { everyMs, atOnce: false, onError })
}

const keyOf = (kind: WorkerKind): string => `worker_silent/${kind}`

const consequence: Record<WorkerKind, string> = {
  control: 'No release, monitor, rollback of a workflow or alert delivery goes on.',
  train: 'No training or batch prediction goes on.',
}

function alertOf({ kind, process, ageMs }: WorkerHeartbeat) {
  const seconds = Math.round(ageMs / 1_000)
  return {
    dedupeKey: keyOf(kind),
    kind: 'worker_silent' as const,
    severity: 'critical' as const,
    message: `No ${kind} worker has given a sign of life for ${seconds} s; the last one was ${process}. ${consequence[kind]} Restart it.`,
    evidence: { worker: kind, process },
  }
}

/** Runs one round after the other; each waits for the end of the one before. */
function repeat(
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
