/**
 * Promotes the candidate: champion pointer, history, routing and audit row in one transaction, so that they cannot disagree.
 * Idempotent, because the history names the release.
 */
import { isError } from '../../domain/errors.ts'
import { pinReason } from '../../domain/serving/kill-switch.ts'
import type { StepEvent } from '../../domain/release/events.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { findPromotion, moveChampion } from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import { findReleasable } from '../../store/release/releases.ts'
import { findRouting, writeRoute } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { databaseTime } from './await-replicas.ts'
import { auditStaleWrite } from './audit-fenced-write.ts'
import { outdatedReason, routeOf } from './route.ts'

type Untimed<Kind extends StepEvent['kind']> = Omit<Extract<StepEvent, { kind: Kind }>, 'atMs'>
export type PromoteReport = Untimed<'promoted'> | Untimed<'stale'> | Untimed<'refused'>

export const promote =
  ({ store, log }: Deps) =>
  async (state: ReleaseState): Promise<PromoteReport> => {
    try {
      const report = await store.transaction(async (database): Promise<PromoteReport> => {
        if (await findPromotion(database, state.id)) {
          const now = await findRouting(database, state.model)
          return { kind: 'promoted', epoch: now?.route.epoch ?? 0, generation: now?.route.generation ?? 0 }
        }
        const outdated = await outdatedReason(database, state)
        if (outdated !== undefined) return { kind: 'stale', reason: outdated }
        const pinned = pinReason(await findKillSwitch(database, state.model))
        if (pinned !== undefined) return { kind: 'stale', reason: pinned }
        const candidate = await findReleasable(database, state.version)
        if (state.drill !== undefined || candidate?.drill === true)
          return { kind: 'refused', reason: `${state.version} was built for a drill and cannot be promoted` }
        const [last] = await listDecisions(database, state.id, 1)
        if (last?.verdict.kind === 'fail')
          return {
            kind: 'refused',
            reason: `the last verdict is against the candidate: ${last.verdict.reasons[0]?.message ?? ''}`,
          }
        const { breakGlass } = state
        if (
          breakGlass?.untilMs !== undefined &&
          (await databaseTime({ store: database })) > breakGlass.untilMs
        )
          return {
            kind: 'refused',
            reason: `the break-glass order of ${breakGlass.by} expired after 1 h`,
          }
        const wanted = routeOf(state)
        if (wanted === undefined) return { kind: 'stale', reason: 'the release has nothing to promote' }
        const approvedBy = state.approvals.map(({ by }) => by)
        const reason = state.breakGlass
          ? `break-glass: ${state.breakGlass.reason ?? ''}`
          : `release ${state.id}, approved by ${approvedBy.join(' and ') || 'its policy'}`
        const actor = state.breakGlass?.by ?? approvedBy.at(-1) ?? state.requestedBy
        const moved = await moveChampion(database, {
          model: state.model,
          from: state.baseline,
          to: state.version,
          releaseId: state.id,
          cause: 'promotion',
          actor,
          reason,
        })
        if (!moved) return { kind: 'stale', reason: 'the champion has just changed' }
        const { route } = await writeRoute(database, {
          route: wanted,
          replaces: { epoch: state.epoch, generation: state.generation },
        })
        await appendAudit(database, {
          actor,
          action: 'champion.promoted',
          subject: state.version,
          model: state.model,
          detail: {
            release: state.id,
            from: state.baseline ?? null,
            approvals: state.approvals,
            voided: state.voidedApprovals ?? [],
            breakGlass: state.breakGlass ?? null,
            digests: state.digests,
            decision: last?.id ?? null,
            generation: route.generation,
            route,
          },
        })
        return { kind: 'promoted', epoch: route.epoch, generation: route.generation }
      })
      log.info({ release: state.id, version: state.version, report: report.kind }, 'promotion')
      return report
    } catch (error) {
      if (!isError(error, 'stale_generation')) throw error
      await auditStaleWrite({ store }, state, 'promotion', error.message)
      return { kind: 'stale', reason: error.message }
    }
  }
