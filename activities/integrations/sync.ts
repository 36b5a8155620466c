/**
 * Delivers the integration outbox to other systems while the control worker runs. An unreachable system costs one attempt per
 * interval; its deliveries wait in the database.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { reasonOf } from '../../domain/errors.ts'
import { resolveAlert, upsertAlert } from '../../store/monitoring/alerts.ts'
import {
  claimIntegrationItems,
  countBacklog,
  markItemSent,
  markItemFailed,
  integrationTargets,
  renewIntegrations,
  releaseItems,
  type IntegrationItem,
  type IntegrationTarget,
} from '../../store/integrations/outbox.ts'
import type { Mirror } from '../../temporal.config.ts'
import type { Deps } from '../deps.ts'
import { syncMlflow } from './mlflow.ts'
import { syncOpenLineage, type StoredEvent } from './openlineage.ts'
import { isRequestRefusal } from '../../store/integrations/http-request.ts'

/** Runs until aborted. Returns at once when no system is configured. */
export async function syncIntegrations(
  deps: Deps,
  signal: AbortSignal,
  policy: MirrorPolicy = mirrorPolicy,
): Promise<void> {
  await Promise.all(
    integrationTargets.map(async (target) => {
      const mirror = deps.config.mirrors[target]
      if (mirror !== undefined) await sendAll(deps, { target, mirror }, signal, policy)
    }),
  )
}

interface Destination {
  target: IntegrationTarget
  mirror: Mirror
}

async function sendAll(
  deps: Deps,
  destination: Destination,
  signal: AbortSignal,
  policy: MirrorPolicy,
): Promise<void> {
  const { store, log } = deps
  let lookAtMs = 0
  let failures = 0
  while (!signal.aborted) {
    let waitMs = policy.pollMs
    try {
      if (performance.now() >= lookAtMs) {
        await renewIntegrations(store, [destination.target])
        await alertBacklog(deps, destination.target, policy)
        lookAtMs = performance.now() + policy.lookMs
      }
      const { isAway, sent } = await sendBatch(deps, destination, signal, policy)
      failures = isAway ? failures + 1 : 0
      if (isAway) waitMs = pauseMs(failures, policy)
      else if (sent > 0) waitMs = 0
    } catch (error) {
      log.warn({ target: destination.target, error: reasonOf(error) }, 'integration outbox could not be read')
    }
    if (waitMs > 0) await pause(waitMs, undefined, { signal }).catch(() => {})
  }
}

/** Delivers in order; an unreachable system ends the round. */
async function sendBatch(
  deps: Deps,
  { target, mirror }: Destination,
  signal: AbortSignal,
  policy: MirrorPolicy,
): Promise<{ isAway: boolean; sent: number }> {
  const { store, log } = deps
  const { atOnce: limit, leaseMs } = policy
  const claimed = await claimIntegrationItems(store, { target, limit, leaseMs })
  let sent = 0
  const release = (from: number) =>
    releaseItems(store, { ids: claimed.slice(from).map(({ id }) => id), againMs: 0 })
  for (const [index, delivery] of claimed.entries()) {
    if (signal.aborted) {
      await release(index)
      break
    }
    try {
      await deliver(deps, { target, mirror }, delivery)
      await markItemSent(store, delivery)
      sent++
    } catch (error) {
      const isAway = !isRequestRefusal(error)
      const againMs = againAfter(delivery, error, policy)
      const problem = reasonOf(error)
      const { id, kind, subject } = delivery
      await markItemFailed(store, { id, problem, againMs })
      log.warn({ target, kind, subject, problem, againMs }, 'delivery failed')
      if (!isAway) continue
      await release(index + 1)
      return { isAway, sent }
    }
  }
  return { isAway: false, sent }
}

const deliver = (
  { store, config }: Deps,
  { target, mirror }: Destination,
  { kind, subject, payload }: IntegrationItem,
): Promise<void> => {
  if (kind !== 'event' && target === 'mlflow') return syncMlflow({ store, mirror }, kind, subject)
  return syncOpenLineage({ store, mirror, build: config.buildId }, subject, payload as unknown as StoredEvent)
}

async function alertBacklog(
  { store }: Deps,
  target: IntegrationTarget,
  { lateMs }: MirrorPolicy,
): Promise<void> {
  const { waiting, oldestMs, givenUp } = await countBacklog(store, target)
  const dedupeKey = `mirror/${target}`
  if (oldestMs < lateMs && givenUp === 0)
    return resolveAlert(store, dedupeKey, `${waiting} changes wait, none dropped in the last day`)
  const minutes = Math.round(oldestMs / 60_000)
  await upsertAlert(store, {
    dedupeKey,
    severity: 'warning',
    kind: 'mirror_behind',
    message: `${waiting} changes wait for ${target}, the oldest for ${minutes} min; ${givenUp} dropped in the last day`,
    evidence: { target, waiting, oldestMs, givenUp },
  })
}

// Decides when a delivery to another system is retried and when it is dropped.

/** Deliveries are dropped after a month, and sooner after repeated rejections. */
export const mirrorPolicy = {
  pollMs: 2_000,
  leaseMs: 120_000,
  atOnce: 20,
  firstPauseMs: 1_000,
  longestPauseMs: 600_000,
  keptMs: 30 * 86_400_000,
  refusals: 8,
  /** An alert is raised when the oldest delivery has waited this long. */
  lateMs: 3_600_000,
  lookMs: 60_000,
}
type MirrorPolicy = typeof mirrorPolicy

const mendable: ReadonlySet<number> = new Set([401, 403, 404, 408, 429])

/** Undefined when the delivery is dropped. A wrong key, a wrong address or a busy server can be fixed, so those are retried. */
function againAfter(
  { attempts, ageMs }: IntegrationItem,
  error: unknown,
  policy: MirrorPolicy,
): number | undefined {
  const isRefused = isRequestRefusal(error) && error.status < 500 && !mendable.has(error.status)
  if (ageMs > policy.keptMs || (isRefused && attempts + 1 >= policy.refusals)) return undefined
  return pauseMs(attempts + 1, policy)
}

const pauseMs = (times: number, { firstPauseMs, longestPauseMs }: MirrorPolicy): number =>
  Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(times - 1, 20))
