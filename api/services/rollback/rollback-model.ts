/**
 * Rolls back the version that serves callers: writes the route itself, waits for the replicas, and lets the delivery notify the workflow.
 * While Postgres is unreachable, this replica and those that it reaches store the order and serve the proven version at once.
 */
import { isError } from '../../../domain/errors.ts'
import { isNamedBy, servingVersion } from '../../../domain/serving/route.ts'
import { findSubject } from '../../../store/access/idempotency.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { findRollbackSubject, type ServingRollback } from '../../../store/release/rollback.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import type { CommandDeps } from '../../deps.ts'
import type { Actor } from '../../auth/authentication.ts'
import { storeRollback } from './rollback-without-database.ts'
import {
  writeRollback,
  type RollbackInput,
  type RollbackReplica,
  type RollbackResult,
} from './write-rollback.ts'
import type { RoutingPlace } from '../../../store/serving/routing.ts'
import { follows, listRecentReplicas, type ReplicaProgress } from '../../../store/serving/replicas.ts'

/**
 * Orders a rollback. `id`: the id of the command. `idWhileAway`: its id while Postgres is unreachable. `keep`: stores the result before the
 * replicas follow, so that a repeated command rolls back nothing else. Throws `command_refused` and the other codes of a refused rollback.
 */
export async function orderRollback(
  deps: CommandDeps,
  actor: Actor,
  { idWhileAway, ...input }: RollbackInput & { id: string; idWhileAway?: string | undefined },
  keep?: (database: Database, result: RollbackResult) => Promise<void>,
): Promise<RollbackResult> {
  const startedAt = performance.now()
  const { model } = input
  requireModelAccess(actor, model)
  // Read before the attempt: Postgres may carry out the order without a response, and another version then serves.
  const followed = deps.serving.routing.find(model)?.route
  let { version } = input
  const resultOf = (done: ServingRollback, replicas: RollbackReplica[]): RollbackResult => {
    const { from, to, release: releaseId } = done
    const result = { from, to, releaseId, replicas, tookMs: Math.round(performance.now() - startedAt) }
    return {
      ...result,
      changed: !done.repeated,
      version: to,
      outcome: 'rolled_back',
      model,
      message: sentenceOf({ ...result, ...done, model }),
    }
  }
  try {
    // When two orders arrive at the same moment, the second one means this version too, not the one that the first restores.
    version ??= await subjectOf(deps.store, actor, { model, ids: [input.id, idWhileAway ?? input.id] })
    const done = await writeRollback(
      deps,
      actor,
      { ...input, version },
      keep && ((database, written) => keep(database, resultOf(written, []))),
    )
    const { place, unfencedBefore } = done
    const { store, serving } = deps
    const known = [serving.replica, ...serving.peers()]
    const replicas =
      place === undefined
        ? []
        : await awaitRollbackOnReplicas(
            { store, leaseMs: serving.leaseMs, known },
            { ...place, model },
            unfencedBefore,
          )
    const result = resultOf(done, replicas)
    const { passedOver, repeated } = done
    deps.log.info({ ...result, by: actor.name, passedOver, repeated }, 'rolled back')
    return result
  } catch (error) {
    if (!isError(error, 'postgres_unavailable')) throw error
    if (followed === undefined) throw error
    version ??= servingVersion(followed)
    if (!isNamedBy(followed, version)) throw error
    const result = await storeRollback(deps, actor, { ...input, version })
    return { ...result, tookMs: Math.round(performance.now() - startedAt) }
  }
}

/**
 * Returns the version that an order without a version refers to. An order that replicas stored refers to the version recorded then, because
 * it may have been carried out since. The stored order is looked up last, because it is recorded before it is carried out.
 */
async function subjectOf(
  store: Store,
  { id: keyId }: Actor,
  { model, ids }: { model: string; ids: readonly string[] },
): Promise<string | undefined> {
  const subject = await findRollbackSubject(store, model)
  const recorded = await findSubject(
    store,
    ids.map((id) => ({ keyId, id })),
  )
  return recorded ?? subject
}

const unreached: Readonly<Record<Exclude<RollbackReplica['state'], 'follows' | 'refuses'>, string>> = {
  fenced: 'was not reached; its lease has ended, so it serves known good versions only',
  silent: 'was not reached; it may serve the former route until its lease ends',
  cut_off: 'is cut off and serves the version if it still runs',
}

function sentenceOf({
  model,
  from,
  to,
  repeated,
  passedOver,
  replicas,
  tookMs,
}: Pick<ServingRollback, 'from' | 'to' | 'repeated' | 'passedOver'> &
  Pick<RollbackResult, 'model' | 'replicas' | 'tookMs'>): string {
  const following = replicas.filter(({ state }) => state === 'follows').length
  const where = `on ${following} of ${replicas.length} replica${replicas.length === 1 ? '' : 's'}`
  const now =
    to === undefined ? 'no version serves' : replicas.length === 0 ? `${to} serves` : `${to} serves ${where}`
  const issuesOf = ({ state, reason }: RollbackReplica): string[] => {
    if (state === 'follows') return []
    if (state === 'refuses') return [`cannot follow: ${reason}`]
    return [unreached[state] + (state === 'cut_off' && reason !== undefined ? ` (${reason})` : '')]
  }
  const others = replicas.flatMap((each) =>
    issuesOf(each).map((issue) => `replica ${each.id} on ${each.host} ${issue}`),
  )
  const over = passedOver.length === 0 ? [] : [`passed over: ${passedOver.join('; ')}`]
  const done = repeated ? 'is rolled back already, nothing changed' : 'is rolled back'
  const further =
    repeated && to !== undefined ? [`to roll ${to} back too: \`tenure rollback ${model} --from ${to}\``] : []
  return [`${from} ${done}, ${now} (${tookMs} ms)`, ...others, ...over, ...further].join('; ')
}

// Waits for the replicas after a rollback, and reports which of them may still serve the version.

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
export async function awaitRollbackOnReplicas(
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
