/**
 * Rolls back what serves callers: writes the route itself, waits for the replicas, and lets the delivery tell the workflow. While Postgres
 * is away, this replica and those that it reaches keep the order and serve the proven version at once.
 */
import { isError } from '../../../domain/errors.ts'
import { isNamedBy, servingVersion } from '../../../domain/serving/route.ts'
import type { ServingRollback } from '../../../store/release/rollback.ts'
import { requireModelAccess } from '../../auth/authorization.ts'
import type { CommandDeps } from '../../deps.ts'
import type { Actor } from '../../auth/authentication.ts'
import { awaitReplicas } from './await-replicas.ts'
import { keepRollback } from './kept-rollbacks.ts'
import {
  writeRollback,
  type RollbackInput,
  type RollbackReplica,
  type RollbackResult,
} from './write-rollback.ts'

/** Throws `command_refused` and the other codes of a refused rollback. `id` is that of the command. */
export async function orderRollback(
  deps: CommandDeps,
  actor: Actor,
  input: RollbackInput & { id: string },
): Promise<RollbackResult> {
  const startedAt = performance.now()
  const { model } = input
  requireModelAccess(actor, model)
  // Before the attempt: Postgres may carry the order out without an answer, and another version serves then.
  const followed = deps.serving.routing.find(model)?.route
  const sinceStart = () => Math.round(performance.now() - startedAt)
  try {
    const {
      from,
      to,
      release: releaseId,
      place,
      unfencedBefore,
      ...done
    } = await writeRollback(deps, actor, input)
    const replicas =
      place === undefined
        ? []
        : await awaitReplicas(
            { store: deps.store, leaseMs: deps.serving.leaseMs },
            { ...place, model },
            unfencedBefore,
          )
    const told = { from, to, releaseId, replicas, tookMs: sinceStart() }
    deps.log.info({ model, by: actor.name, ...told, ...done }, 'rolled back')
    return { ...told, version: to, outcome: 'rolled_back', model, message: sentenceOf({ ...told, ...done }) }
  } catch (error) {
    if (!isError(error, 'postgres_unavailable')) throw error
    if (followed === undefined) throw error
    const version = input.version ?? servingVersion(followed)
    if (!isNamedBy(followed, version)) throw error
    const kept = await keepRollback(deps, actor, { ...input, version })
    return { ...kept, tookMs: sinceStart() }
  }
}

const unreached: Readonly<Record<Exclude<RollbackReplica['state'], 'follows' | 'refuses'>, string>> = {
  fenced: 'was not reached; its lease has ended, so it serves known good versions only',
  silent: 'was not reached; it may serve the former route until its lease ends',
  cut_off: 'is cut off and serves the version if it still runs',
}

function sentenceOf({
  from,
  to,
  repeated,
  passedOver,
  replicas,
  tookMs,
}: Pick<ServingRollback, 'from' | 'to' | 'repeated' | 'passedOver'> &
  Pick<RollbackResult, 'replicas' | 'tookMs'>): string {
  const following = replicas.filter(({ state }) => state === 'follows').length
  const where = `on ${following} of ${replicas.length} replica${replicas.length === 1 ? '' : 's'}`
  const now = to === undefined ? 'no version serves' : `${to} serves ${where}`
  const others = replicas.flatMap(({ id, host, state, reason }) =>
    state === 'follows'
      ? []
      : [`replica ${id} on ${host} ${state === 'refuses' ? `cannot follow: ${reason}` : unreached[state]}`],
  )
  const over = passedOver.length === 0 ? [] : [`passed over: ${passedOver.join('; ')}`]
  const done = repeated ? 'was rolled back before' : 'is rolled back'
  return [`${from} ${done}, ${now} (${tookMs} ms)`, ...others, ...over].join('; ')
}
