/** Waits for the replicas after a rollback, and reports which of them may still serve the version. */
import type { Store } from '../../../store/postgres.ts'
import {
  follows,
  listRecentReplicas,
  type ReplicaProgress,
  type RoutingPlace,
} from '../../../store/serving/routing.ts'
import type { RollbackReplica } from './write-rollback.ts'

const pollMs = { first: 10, longest: 100 }
/** Added to the lease, in milliseconds. After both, an unreachable replica serves only known good versions. */
const graceMs = 500

export interface AwaitDeps {
  store: Store
  leaseMs: number
  /** Replicas that are reported as silent when Postgres has not responded since the order was written. */
  known: readonly Pick<RollbackReplica, 'id' | 'host'>[]
}

/**
 * Waits until each live replica follows, refuses, or has lost its lease. A replica that has acknowledged no route since `unfencedBefore`
 * may serve the version without a lease.
 */
export async function awaitReplicas(
  { store, leaseMs, known }: AwaitDeps,
  place: RoutingPlace & { model: string },
  unfencedBefore: RoutingPlace | undefined,
): Promise<RollbackReplica[]> {
  const untilMs = performance.now() + leaseMs + graceMs
  const seen = new Map<string, ReplicaProgress>()
  const isFenced = (each: ReplicaProgress): boolean =>
    unfencedBefore === undefined || follows(each, unfencedBefore)
  for (let pauseMs = pollMs.first; ; pauseMs = Math.min(2 * pauseMs, pollMs.longest)) {
    // The order is written. If the database becomes unreachable now, only the state of the replicas is unknown.
    const recent = await listRecentReplicas(store, place.model).catch(() => undefined)
    const live = recent?.live
    for (const each of live ?? []) seen.set(each.id, each)
    const waiting = live?.some((each) => !follows(each, place)) ?? true
    if (waiting && performance.now() < untilMs) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs))
      continue
    }
    const ended =
      live === undefined ? [] : [...seen.values()].filter(({ id }) => !live.some((each) => each.id === id))
    const stateOf = (each: ReplicaProgress): RollbackReplica['state'] => {
      if (follows(each, place)) return each.problem === undefined ? 'follows' : 'refuses'
      if (!ended.includes(each)) return 'silent'
      return isFenced(each) ? 'fenced' : 'cut_off'
    }
    const unread = recent === undefined ? known.filter(({ id }) => !seen.has(id)) : []
    const unseen = recent === undefined ? [] : [...recent.silent, ...recent.gone]
    const cutOff = unseen
      .filter((each) => !seen.has(each.id) && !isFenced(each))
      .map(({ id, host, silentMs }) => ({
        id,
        host,
        state: 'cut_off' as const,
        reason: recent?.gone.some((each) => each.id === id) ? agoOf(silentMs) : undefined,
      }))
    return [
      ...[...seen.values()].map((each) => ({
        id: each.id,
        host: each.host,
        state: stateOf(each),
        reason: each.problem,
      })),
      ...cutOff,
      ...unread.map(({ id, host }) => ({ id, host, state: 'silent' as const })),
    ]
  }
}

const hourMs = 3_600_000

/** Describes how long ago a lease ended: at least an hour, even when the clock of the database was set back. */
const agoOf = (silentMs: number): string =>
  `its lease ended ${Math.max(1, Math.round(silentMs / hourMs))} h ago`
