/**
 * Takes a version back: one flip to the last champion that has earned its place, and the wait until every live replica
 * has returned. It asks for no approval and no healthy candidate, and doing it again changes nothing, so that it can be
 * ordered at any moment and by any number of callers.
 */
import type { Recovery, ReleaseState } from '../domain/release.ts'
import type { Route } from '../domain/route.ts'
import { appendAudit } from '../store/audit.ts'
import { findChampion, findRollbackTarget, markWithdrawn, moveChampion } from '../store/champions.ts'
import { listDecisions } from '../store/decisions.ts'
import type { Database } from '../store/postgres.ts'
import { findOpenRelease, findRelease } from '../store/releases.ts'
import { findRouting, writeRoute } from '../store/routing.ts'
import type { Deps } from './deps.ts'
import { endInterrupted, returnToBaseline, wholeRoute } from './ending.ts'
import { awaitFollowers } from './followers.ts'
import { withHeartbeat } from './heartbeat.ts'

export interface TakeBackReport {
  kind: 'taken_back'
  problems: string[]
  recovery: Recovery
}

/** Takes the candidate of a release back, wherever it has got to. */
export const takeBack =
  (deps: Deps) =>
  async (state: ReleaseState): Promise<TakeBackReport> =>
    withHeartbeat(async (beat) => {
      const { model, id } = state
      const wasChampion = await deps.store.transaction((database) => returnToBaseline(database, state))
      const now = await findRouting(deps.store, model)
      const { problems, atMs } = now
        ? await awaitFollowers(deps, beat, now.route, {
            withinMs: state.policy.watch.acknowledgeMs,
            atLeastOne: false,
          })
        : { problems: [], atMs: 0 }
      const orderedMs = Date.parse((await findRelease(deps.store, id))?.takenBackAt ?? '') || atMs
      const champion = (await findChampion(deps.store, model))?.version
      const [last] = await listDecisions(deps.store, id, 1)
      const recovery: Recovery = {
        ...(champion === undefined ? {} : { champion }),
        wasChampion,
        ...(last?.verdict.kind === 'fail' ? { decidedMs: Date.parse(last.at) } : {}),
        orderedMs,
        acknowledgedMs: Math.max(atMs, orderedMs),
      }
      deps.log.info({ release: id, version: state.version, problems, ...recovery }, 'taken back')
      return { kind: 'taken_back', problems, recovery }
    })

export interface ModelRollback {
  model: string
  by: string
  reason: string
  /** An open release whose workflow is known to be gone. */
  interrupted?: string
}

export type ModelRollbackReport =
  | { outcome: 'rolled_back'; from: string; to: string; problems: string[]; tookMs: number }
  | { outcome: 'open_release'; releaseId: string }
  | { outcome: 'refused'; code: 'no_champion' | 'no_rollback_target'; message: string }

/** Returns a model that has no open release to its last proven version. */
export const rollBackModel =
  (deps: Deps) =>
  async (order: ModelRollback): Promise<ModelRollbackReport> =>
    withHeartbeat(async (beat) => {
      const startedAt = performance.now()
      const flipped = await deps.store.transaction((database) => flip(database, order))
      if (!('from' in flipped)) return flipped
      const { problems } = await awaitFollowers(deps, beat, flipped.route, {
        withinMs: acknowledgeMs,
        atLeastOne: false,
      })
      const { from, to } = flipped
      const tookMs = Math.round(performance.now() - startedAt)
      deps.log.info({ model: order.model, from, to, by: order.by, problems, tookMs }, 'rolled back')
      return { outcome: 'rolled_back', from, to, problems, tookMs }
    })

/** How long a rollback outside of a release waits for replicas that do not follow, before it names them. */
const acknowledgeMs = 30_000

async function flip(
  database: Database,
  { model, by, reason, interrupted }: ModelRollback,
): Promise<
  { from: string; to: string; route: Route } | Exclude<ModelRollbackReport, { outcome: 'rolled_back' }>
> {
  const open = await findOpenRelease(database, model)
  if (open && open.state.id !== interrupted) return { outcome: 'open_release', releaseId: open.state.id }
  if (open) {
    await endInterrupted(database, open.state)
    const to = (await findChampion(database, model))?.version
    const now = await findRouting(database, model)
    if (to !== undefined && now) return { from: open.state.version, to, route: now.route }
  }
  const champion = await findChampion(database, model)
  const now = await findRouting(database, model)
  if (!champion || !now)
    return { outcome: 'refused', code: 'no_champion', message: `${model} has no champion` }
  const from = champion.version
  const to = await findRollbackTarget(database, { model, from })
  if (to === undefined)
    return {
      outcome: 'refused',
      code: 'no_rollback_target',
      message: `${from} is the only proven version of ${model}; there is none to return to`,
    }
  await moveChampion(database, { model, from, to, cause: 'rollback', actor: by, reason })
  await markWithdrawn(database, from)
  const { route } = await writeRoute(database, {
    route: wholeRoute(model, to, now.route),
    replaces: now.route,
  })
  await appendAudit(database, {
    actor: by,
    action: 'champion.rolled_back',
    subject: from,
    model,
    detail: { from, to, reason, generation: route.generation, route },
  })
  return { from, to, route }
}
