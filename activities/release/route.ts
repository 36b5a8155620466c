/**
 * Routes the share of a stage to the candidate and waits until every live replica has acknowledged. First checks that the basis of the
 * release still stands.
 */
import { canonicalJson } from '../../domain/canonical-json.ts'
import { isError } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import { pinReason } from '../../domain/serving/kill-switch.ts'
import { nextEffect, routePlan } from '../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { hasCandidate, totalBp, type Route } from '../../domain/serving/route.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { basisIssues } from '../../domain/release/basis.ts'
import { actFor, findReleaseBasis, type StepInput, type StepReport } from '../../store/release/releases.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import type { Database } from '../../store/postgres.ts'
import { findRouting, writeRoute, type Routing } from '../../store/serving/routing.ts'
import { listReplicaProgress } from '../../store/serving/replicas.ts'
import type { Deps } from '../deps.ts'
import { auditStaleWrite } from './audit-fenced-write.ts'
import { failureOf } from './decide.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import type { Beat } from '../runtime/heartbeat.ts'
import { releaseStep } from './release-step.ts'

const pinPollMs = 250

export const routeStage = (deps: Deps) =>
  releaseStep(deps, 'route', async (state, beat, input): Promise<StepReport | undefined> => {
    const { acknowledgeMs } = state.policy.watch
    const unwritten = (problem: string): StepReport => {
      const { epoch, generation } = state
      return { kind: 'unacknowledged', epoch, generation, problems: [problem] }
    }
    const pinned = await pinnedFor(deps, beat, state)
    if (pinned !== undefined) return unwritten(pinned)
    const written = await writeStage(deps, input)
    if (written === undefined || 'kind' in written) return written
    if ('problem' in written) {
      await beat.sleep(acknowledgeMs)
      return unwritten(written.problem)
    }
    const { epoch, generation, replicas } = written.route
    const waited = await awaitAcknowledgements(deps, beat, written.route, acknowledgeMs, {
      atLeastOne: true,
    })
    const { problems, atMs } = waited
    deps.log.info({ release: state.id, stage: state.stage, generation, problems }, 'routed')
    if (problems.length > 0) return { kind: 'unacknowledged', epoch, generation, problems }
    return { kind: 'routed', epoch, generation, startedMs: atMs, replicas }
  })

/** Why the candidate gets no more traffic: a kill switch has pinned the model for the whole acknowledgement timeout. */
async function pinnedFor({ store }: Deps, beat: Beat, state: ReleaseState): Promise<string | undefined> {
  const until = performance.now() + state.policy.watch.acknowledgeMs
  for (;;) {
    const pinned = state.promoted ? undefined : pinReason(await findKillSwitch(store, state.model))
    if (pinned === undefined || performance.now() >= until) return pinned
    await beat.sleep(pinPollMs)
  }
}

type WrittenStage = Routing | StepReport | { problem: string } | undefined

/** Writes the route of the stage, or finds the one that an earlier attempt wrote. Undefined when the release asks for another step. */
async function writeStage(deps: Deps, input: StepInput): Promise<WrittenStage> {
  let state: ReleaseState | undefined
  try {
    return await actFor<WrittenStage>(deps.store, input, async (database, locked) => {
      state = locked
      if (nextEffect(state).key !== input.step) return undefined
      const reason = await outdatedReason(database, state)
      if (reason !== undefined) return { kind: 'stale', reason }
      const failed = await failureOf(database, state)
      if (failed !== undefined)
        return { kind: 'refused', reason: `a verdict is against the candidate: ${failed}` }
      const plan = routeOf(state)
      if (plan === undefined) return { kind: 'stale', reason: 'the release has no baseline to route beside' }
      const now = await findRouting(database, state.model)
      const planned =
        routePlan(state)?.byReplica === true
          ? await chooseReplicas(database, { plan, now: now?.route, state })
          : plan
      if ('problem' in planned) return planned
      if (now && isSame(now.route, planned)) return now
      const { id, model, stage, stageIndex, shareBp } = state
      const written = await writeRoute(database, {
        route: planned,
        replaces: { epoch: state.epoch, generation: state.generation },
        exposureMs: exposureOf(planned, state),
      })
      await appendAudit(database, {
        actor: 'release',
        action: 'routing.changed',
        subject: id,
        model,
        detail: { stage, stageIndex, shareBp, generation: written.route.generation, route: written.route },
      })
      return written
    })
  } catch (error) {
    if (!isError(error, 'stale_generation') || state === undefined) throw error
    return auditStaleWrite(deps, state, 'routing', error.message)
  }
}

type PlannedRoute = Omit<Route, 'epoch' | 'generation'>

/**
 * Chooses the replicas that serve the candidate: the share rounded up, never all replicas, those of the previous stage first. A replica
 * that starts later joins with the next stage.
 */
async function chooseReplicas(
  database: Database,
  { plan, now, state }: { plan: PlannedRoute; now: Route | undefined; state: ReleaseState },
): Promise<PlannedRoute | { problem: string }> {
  const before = now?.release === state.id ? (now.replicas ?? []) : []
  // A retry keeps the replicas already chosen.
  if (now && before.length > 0 && isSame(now, { ...plan, replicas: before }))
    return { ...plan, replicas: before }
  const live = (await listReplicaProgress(database, state.model)).map(({ id }) => id)
  if (live.length < 2)
    return { problem: `${counted(live.length, 'live replica')}; a rolling release needs at least 2` }
  const count = Math.min(live.length - 1, Math.ceil((live.length * state.shareBp) / totalBp))
  const chosen = before.filter((id) => live.includes(id))
  const replicas = [...chosen, ...live.filter((id) => !chosen.includes(id))].slice(0, count)
  return { ...plan, replicas }
}

/** Why the basis of the release no longer stands; undefined while it stands. */
export async function outdatedReason(database: Database, state: ReleaseState): Promise<string | undefined> {
  const { model, version, digests } = state
  const champion = state.promoted ? version : state.baseline
  const found = await findReleaseBasis(database, { model, version })
  // After promotion the evaluation names the previous champion. The comparison stands as long as its digest does.
  return basisIssues({ version, champion, ...digests }, found).find(({ kind }) => kind !== 'comparison')
    ?.message
}

/** The route that a state asks for, without its epoch and generation. */
export function routeOf(state: ReleaseState): PlannedRoute | undefined {
  const plan = routePlan(state)
  if (plan === undefined) return undefined
  const { byReplica: _byReplica, ...rest } = plan
  return {
    model: state.model,
    release: state.id,
    salt: state.id,
    ...rest,
    tickMs: state.policy.watch.tickMs,
    ...(state.latencyUs ? { latencyUs: state.latencyUs } : {}),
    guard: { rate: state.policy.limits.guardRate, alpha: state.policy.limits.alpha.guard },
  }
}

/** How long a route may expose its candidate without a new verdict; undefined for a route without a candidate. */
export const exposureOf = (route: PlannedRoute, { policy }: ReleaseState): number | undefined =>
  hasCandidate(route) ? policy.watch.exposureMs : undefined

/** Whether this is the route that the state wrote. The replicas of a rolling release were chosen at that time. */
export function isRouteOf(now: Route, state: ReleaseState): boolean {
  const plan = routeOf(state)
  const isAt = now.epoch === state.epoch && now.generation === state.generation
  return plan !== undefined && isAt && isSame(now, { ...plan, replicas: now.replicas })
}

function isSame(now: Route, planned: PlannedRoute): boolean {
  const { epoch: _epoch, generation: _generation, ...rest } = now
  return canonicalJson(rest) === canonicalJson(planned)
}
