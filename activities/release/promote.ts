/**
 * Promotes the candidate. Champion, history, routing and audit row change in one transaction, so that they cannot disagree. Idempotent,
 * because the history row names the release.
 */
import { isError } from '../../domain/errors.ts'
import { breakGlassExpired } from '../../domain/release/break-glass.ts'
import { pinReason } from '../../domain/serving/kill-switch.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { readNow } from '../../store/database/clock.ts'
import { findPromotion, moveChampion } from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import { findReleasable } from '../../store/release/releases.ts'
import type { Database } from '../../store/postgres.ts'
import { findRouting, writeRoute } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { auditStaleWrite, staleReport } from './audit-fenced-write.ts'
import { failureOf } from './decide.ts'
import { exposureOf, recordedState, routeOf, type Untimed } from './route.ts'

export type PromoteReport = Untimed<'promoted'> | Untimed<'stale'> | Untimed<'refused'>

export const promote =
  (deps: Deps) =>
  async (state: ReleaseState): Promise<PromoteReport> => {
    const { store, log } = deps
    try {
      const report = await store.transaction((database) => promoteIn(deps, database, state))
      log.info({ release: state.id, version: state.version, report: report.kind }, 'promotion')
      return report.kind === 'stale' ? await staleReport({ store }, state, report.reason) : report
    } catch (error) {
      if (!isError(error, 'stale_generation')) throw error
      return await auditStaleWrite({ store }, state, 'promotion', error.message)
    }
  }

async function promoteIn(deps: Deps, database: Database, given: ReleaseState): Promise<PromoteReport> {
  if (await findPromotion(database, given.id)) {
    const now = await findRouting(database, given.model)
    return { kind: 'promoted', epoch: now?.route.epoch ?? 0, generation: now?.route.generation ?? 0 }
  }
  const recorded = await recordedState(deps, database, { ...given, stage: 'promoting', stageIndex: 0 })
  if ('reason' in recorded) return { kind: 'stale', ...recorded }
  const { state, issue } = recorded
  const { id, model, version, baseline, epoch, generation, approvals, breakGlass } = state
  const pinned = pinReason(await findKillSwitch(database, model))
  if (pinned !== undefined) return { kind: 'stale', reason: pinned }
  const refused = await refusalOfPromotion(database, state)
  if (refused !== undefined) return { kind: 'refused', ...refused }
  if (issue !== undefined) return { kind: 'stale', reason: issue }
  const route = routeOf(state)
  if (route === undefined) return { kind: 'stale', reason: 'the release has nothing to promote' }
  const approvedBy = approvals.map(({ by }) => by)
  const actor = breakGlass?.by ?? approvedBy.at(-1) ?? state.requestedBy
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
  return { kind: 'promoted', epoch: written.epoch, generation: written.generation }
}

/** Why this release may never promote the candidate; undefined when it may. */
async function refusalOfPromotion(
  database: Database,
  state: ReleaseState,
): Promise<Pick<Untimed<'refused'>, 'reason' | 'expired'> | undefined> {
  const { version, drill, breakGlass } = state
  const candidate = await findReleasable(database, version)
  if (drill !== undefined || candidate?.drill === true)
    return { reason: `${version} was built for a drill and cannot be promoted` }
  const failed = await failureOf(database, state)
  if (failed !== undefined) return { reason: `a verdict is against the candidate: ${failed}` }
  const expired = breakGlass && breakGlassExpired(state, await readNow(database))
  return expired === undefined ? undefined : { reason: expired, expired: true }
}
