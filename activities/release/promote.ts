/**
 * Promotes the candidate. Champion, history, routing, audit row and the state of the release change in one transaction, so that they
 * cannot disagree and a second attempt finds it done.
 */
import { isError } from '../../domain/errors.ts'
import { approversOf } from '../../domain/release/approval.ts'
import { breakGlassExpired } from '../../domain/release/reducer.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import { pinReason } from '../../domain/serving/kill-switch.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { readNow } from '../../store/database/clock.ts'
import { moveChampion } from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import {
  actFor,
  findReleasable,
  applyReport,
  type StepInput,
  type StepReport,
} from '../../store/release/releases.ts'
import type { Database } from '../../store/postgres.ts'
import { writeRoute } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { auditStaleWrite } from './audit-fenced-write.ts'
import { failureOf } from './decide.ts'
import { releaseStep } from './release-step.ts'
import { exposureOf, outdatedReason, routeOf } from './route.ts'

export const promote = (deps: Deps) =>
  releaseStep(deps, 'promote', async (state, _beat, input): Promise<StepReport | undefined> => {
    const { store, log } = deps
    try {
      const report = await actFor(store, input, (database, locked) => promoteIn(database, locked, input))
      log.info({ release: state.id, version: state.version, report: report?.kind ?? 'done' }, 'promotion')
      return report
    } catch (error) {
      if (!isError(error, 'stale_generation')) throw error
      return await auditStaleWrite({ store }, state, 'promotion', error.message)
    }
  })

/** Moves the champion and the release in one transaction. Returns why it did not; undefined when it did, or had done so before. */
async function promoteIn(
  database: Database,
  state: ReleaseState,
  input: StepInput,
): Promise<StepReport | undefined> {
  if (nextEffect(state).key !== input.step) return undefined
  const reason = await outdatedReason(database, state)
  if (reason !== undefined) return { kind: 'stale', reason }
  const { id, model, version, baseline, epoch, generation, approvals, breakGlass } = state
  const pinned = pinReason(await findKillSwitch(database, model))
  if (pinned !== undefined) return { kind: 'stale', reason: pinned }
  const refused = await refusalOfPromotion(database, state)
  if (refused !== undefined) return { kind: 'refused', ...refused }
  const route = routeOf(state)
  if (route === undefined) return { kind: 'stale', reason: 'the release has nothing to promote' }
  const approvedBy = approversOf(approvals)
  const actor = breakGlass?.by ?? approvals.at(-1)?.by ?? state.requestedBy
  const moved = await moveChampion(database, {
    model,
    from: baseline,
    to: version,
    releaseId: id,
    cause: 'promotion',
    actor,
    reason: breakGlass
      ? `break-glass: ${breakGlass.reason ?? ''}`
      : `release ${id}, approved by ${approvedBy.join(' and ') || 'its policy'}`,
  })
  if (!moved) return { kind: 'stale', reason: 'the champion has just changed' }
  const [last] = await listDecisions(database, id, 1)
  const exposureMs = exposureOf(route, state)
  const written = (await writeRoute(database, { route, replaces: { epoch, generation }, exposureMs })).route
  await appendAudit(database, {
    actor,
    action: 'champion.promoted',
    subject: version,
    model,
    detail: {
      release: id,
      from: baseline ?? null,
      approvals,
      voided: state.voidedApprovals ?? [],
      breakGlass: breakGlass ?? null,
      digests: state.digests,
      decision: last?.id ?? null,
      generation: written.generation,
      route: written,
    },
  })
  await applyReport(database, state, {
    kind: 'promoted',
    epoch: written.epoch,
    generation: written.generation,
  })
  return undefined
}

/** Why this release may never promote the candidate; undefined when it may. */
async function refusalOfPromotion(
  database: Database,
  state: ReleaseState,
): Promise<{ reason: string; expired?: true } | undefined> {
  const { version, drill, breakGlass } = state
  const candidate = await findReleasable(database, version)
  if (drill !== undefined || candidate?.drill === true)
    return { reason: `${version} was built for a drill and cannot be promoted` }
  const failed = await failureOf(database, state)
  if (failed !== undefined) return { reason: `a verdict is against the candidate: ${failed}` }
  const expired = breakGlass && breakGlassExpired(state, await readNow(database))
  return expired === undefined ? undefined : { reason: expired, expired: true }
}
