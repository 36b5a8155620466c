/** Watches workers, backups, payload keys, the database and the prediction log for a replica, because none of them reports its own failure. */
import { hostname } from 'node:os'
import { watchOutages, type OutageWatch, type Symptom } from '../activities/alerts/delivery/outage-watch.ts'
import { droppedRowsAlert, waitingStreamsAlert } from '../domain/serving/outage-alerts.ts'
import { watchBackups, type BackupWatch } from '../store/maintenance/backup-state.ts'
import {
  watchWorkers,
  listHeartbeats,
  repeatRounds,
  silentMs,
  type Repeated,
} from '../store/maintenance/worker-heartbeats.ts'
import type { Store } from '../store/postgres.ts'
import type { ApiFetch } from '../store/tls/api-fetch.ts'
import type { Config } from '../temporal.config.ts'
import type { ApiLog } from './deps.ts'
import type { Serving } from './serving/replica-assembly.ts'
import { listStreamCounts } from './streams/counts.ts'
import { marksOf, payloadKeyIssue } from '../workflows/client/payload-keys.ts'

export interface Watches {
  backups: BackupWatch['found']
  symptoms: OutageWatch['seen']
  payloadKeyIssue: PayloadKeyWatch['issue']
  stop(): Promise<unknown>
}

interface WatchDeps {
  store: Store
  log: ApiLog
  config: Config
  serving: Pick<Serving, 'log' | 'replica' | 'peers' | 'routing'>
  callReplica: ApiFetch
}

/** How long rows of the prediction log must not be dropped until the alert about them ends. */
const droppedMs = 60_000
/** How long a replica waits for the answer of another one. */
const peerMs = 2_000

export function startWatches(
  { store, log, config, serving, callReplica }: WatchDeps,
  onError: (what: string, error: unknown) => void,
): Watches {
  const failed = (what: string) => (error: unknown) => onError(`${what} cannot be watched`, error)
  const backups = watchBackups(store, failed('the backups'))
  const workers = watchWorkers(store, failed('the workers'))
  const keys = config.temporal.payloadKeys
  const payloadKeys = watchPayloadKeys({ store, log, keys }, failed('the payload keys'))
  const replica = `${hostname()}/${config.api.slot}`
  const dropped = droppedRows(serving.log, replica)
  const unloadable = unloadableVersions(serving.routing, replica)
  const waiting = waitingStreams(replica, config.outageAlertMs)
  const outages = watchOutages({
    store,
    log,
    config,
    symptoms: () => [...dropped(), ...waiting(), ...unloadable()],
    isReportedByOther: () => hasEarlierPeer(serving, callReplica),
    standInMs: config.outageAlertMs / 2,
    keys: [`log_rows_dropped/${replica}`, `stream_waiting/${replica}`],
  })
  return {
    backups: backups.found,
    symptoms: outages.seen,
    payloadKeyIssue: payloadKeys.issue,
    stop: () => Promise.all([workers.stop(), backups.stop(), payloadKeys.stop(), outages.stop()]),
  }
}

/** Returns what reports the rows that the prediction log drops, until it has dropped none for a minute. */
export function droppedRows(log: Serving['log'], replica: string): () => Symptom[] {
  let before = 0
  let episode: { rows: number; since: string; lastMs: number } | undefined
  return () => {
    const { dropped } = log.counts()
    const rows = dropped - before
    before = dropped
    const nowMs = Date.now()
    if (rows > 0)
      episode = {
        rows: rows + (episode?.rows ?? 0),
        since: episode?.since ?? new Date(nowMs).toISOString(),
        lastMs: nowMs,
      }
    if (episode !== undefined && nowMs - episode.lastMs > droppedMs) episode = undefined
    return episode === undefined ? [] : [droppedRowsAlert({ replica, ...episode })]
  }
}

/** The alert of Postgres tells of streams that wait for it. */
const ofPostgres: ReadonlySet<string> = new Set(['postgres_unavailable', 'prediction_log_unavailable'])

/** Returns what reports the streams that have waited for at least `afterMs`. */
export function waitingStreams(
  replica: string,
  afterMs: number,
  { list = listStreamCounts, now = () => performance.now() } = {},
): () => Symptom[] {
  /** By topic: since when the stream waits. */
  const since = new Map<string, number>()
  return () => {
    const waiting = [...list()].filter(({ waitsFor }) => waitsFor !== undefined && !ofPostgres.has(waitsFor))
    for (const topic of since.keys()) if (!waiting.some((each) => each.topic === topic)) since.delete(topic)
    for (const { topic } of waiting) if (!since.has(topic)) since.set(topic, now())
    const long = waiting.filter(({ topic }) => now() - since.get(topic)! >= afterMs)
    const streams = long.map(({ topic, waitsFor }) => `${topic} (${waitsFor})`).sort()
    return streams.length === 0 ? [] : [waitingStreamsAlert({ replica, streams })]
  }
}

/**
 * Returns what reports the models that this replica refuses, because it cannot load their version. While the database answers, the control
 * worker tells of them for the fleet.
 */
export const unloadableVersions =
  (routing: Pick<Serving['routing'], 'fallbackLevels'>, replica: string) => (): Symptom[] =>
    routing.fallbackLevels().flatMap(({ model, level, version, reason }) =>
      level !== 'refused' || version === undefined
        ? []
        : [
            {
              dedupeKey: `fallback/${model}/replica`,
              model,
              severity: 'critical',
              kind: 'replica_cannot_load',
              message: `Replica ${replica} cannot load ${version}: ${reason}. Whether another replica serves ${model} is not known without the database.`,
              evidence: { replica, version },
              isRaisedElsewhere: true,
            },
          ],
    )

/** Whether another replica that lives comes first, so that one of the fleet tells of the database. */
async function hasEarlierPeer({ replica, peers }: WatchDeps['serving'], call: ApiFetch): Promise<boolean> {
  const asked = peers()
    .filter(({ id }) => id < replica.id)
    .map(({ url }) =>
      call(`${url}/livez`, { signal: AbortSignal.timeout(peerMs) }).then(
        ({ ok }) => ok,
        () => false,
      ),
    )
  return (await Promise.all(asked)).some(Boolean)
}

// Compares the payload keys of this replica with those of the live workers, without Temporal and its SDK. A replica with a wrong or lost
// key still predicts, but its commands do not reach the workflows.

interface PayloadKeyWatch extends Repeated {
  /** Returns the issue found at the last check. */
  issue(): string | undefined
}

export function watchPayloadKeys(
  { store, log, keys }: { store: Store; log: ApiLog; keys: Config['temporal']['payloadKeys'] },
  onError: (error: unknown) => void,
  { everyMs = 15_000 }: { everyMs?: number } = {},
): PayloadKeyWatch {
  const own = marksOf(keys)
  let issue: string | undefined
  const look = async () => {
    const found = (await listHeartbeats(store)).flatMap(({ process, payloadKeys, ended, ageMs }) =>
      ended || ageMs > silentMs
        ? []
        : (payloadKeyIssue(own, { process: `the worker ${process}`, keys: payloadKeys }) ?? []),
    )[0]
    if (found === issue) return
    if (found === undefined) log.info({}, 'the payload keys match those of the workers')
    else
      log.error(
        { issue: found },
        'the payload keys differ from those of the workers: predictions go on, commands to workflows fail',
      )
    issue = found
  }
  return { ...repeatRounds(look, { everyMs, atOnce: true, onError }), issue: () => issue }
}
