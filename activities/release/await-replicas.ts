/**
 * Waits until every live replica acknowledges a route. A replica without a lease is not awaited, because it has returned to the last
 * known good version by itself. A new worker cannot know yet whether a silent replica's lease has ended, so it waits for that replica.
 */
import { readNow } from '../../store/database/clock.ts'
import type { RoutingPlace } from '../../store/serving/routing.ts'
import { laggingReplicas, listRecentReplicas, type SilentReplica } from '../../store/serving/replicas.ts'
import type { Deps } from '../deps.ts'
import type { Beat } from '../runtime/heartbeat.ts'

const pollMs = { first: 10, longest: 250 }

export interface AcknowledgementReport {
  /** The replicas that lag, each with its reason; empty when all have acknowledged. */
  problems: string[]
  /** Replicas that may be cut off, as of the same moment. */
  silent: SilentReplica[]
  /** When this was observed, on the database's clock. */
  atMs: number
}

/**
 * Polls until every live replica has acknowledged or `withinMs` has passed. With `atLeastOne`, having no live replica is a problem too.
 */
export async function awaitAcknowledgements(
  { store }: Pick<Deps, 'store'>,
  beat: Beat,
  place: RoutingPlace & { model: string },
  withinMs: number,
  { atLeastOne = false } = {},
): Promise<AcknowledgementReport> {
  const startedAt = performance.now()
  for (let pauseMs = pollMs.first; ; pauseMs = Math.min(pauseMs * 2, pollMs.longest)) {
    const atMs = await readNow(store)
    const { live, silent, gone } = await listRecentReplicas(store, place.model)
    const problems = live.length === 0 && atLeastOne ? ['no replica is live'] : laggingReplicas(live, place)
    const leftMs = withinMs - (performance.now() - startedAt)
    if (problems.length === 0 || leftMs <= 0) return { problems, silent: [...silent, ...gone], atMs }
    await beat.sleep(Math.min(pauseMs, leftMs))
  }
}
