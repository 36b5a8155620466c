/**
 * Ends a release in the database, also an interrupted one: its row, the status of its version, its route, its alert and its audit row in
 * one transaction, because half of one would leave a route without a watcher.
 */
import { noticeKinds, type AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import type { ReleaseOutcomeKind, ReleaseState } from '../../domain/release/state.ts'
import { incompatibilityReason } from '../../domain/registry/schema-compatibility.ts'
import { approversOf } from '../../domain/release/approval.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import { end } from '../../domain/release/reducer.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import { insertNotice } from '../monitoring/release-requests.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { findChampion, findIncompatibilities, markKnownGood } from '../registry/champions.ts'
import type { Database } from '../postgres.ts'
import { isEndedByUser } from '../commands.ts'
import { findRelease, lockRelease, recordEnd } from './releases.ts'
import { isRouteFor, returnToBaseline, routeCompletely } from './rollback.ts'
import { findRouting } from '../serving/routing.ts'

/** The alerts by outcome. A rejection answers the request of its release, whose alert says so. */
const alertsOf: Readonly<
  Record<ReleaseOutcomeKind, { kind: AlertKind; severity: 'info' | 'warning' | 'critical' } | undefined>
> = {
  promoted: undefined,
  rolled_back: { kind: 'release_rolled_back', severity: 'critical' },
  rejected: undefined,
  expired: { kind: 'release_expired', severity: 'warning' },
  aborted: { kind: 'release_aborted', severity: 'info' },
  superseded: { kind: 'release_superseded', severity: 'warning' },
  failed: { kind: 'release_failed', severity: 'critical' },
}

const endWords: Readonly<Record<ReleaseOutcomeKind, string>> = {
  promoted: 'was promoted',
  rolled_back: 'was rolled back',
  rejected: 'was rejected',
  expired: 'expired',
  aborted: 'was aborted',
  superseded: 'was superseded',
  failed: 'failed',
}

/** " by bob: complaints; ada had approved" for an order, ": " with the reason otherwise. */
function whyOf({ reason = '', approvals }: ReleaseState): string {
  const ordered = /^(?:aborted|rolled back) (by .*)$/s.exec(reason)?.[1]
  if (ordered === undefined) return `: ${withoutEvidence(reason)}`
  const names = approversOf(approvals)
  return ` ${ordered}${names.length === 0 ? '' : `; approved by ${names.join(' and ')}`}`
}

/** The last stage in which the candidate got requests. */
function placeOf({ routings }: ReleaseState): string {
  const last = routings.at(-1)
  if (last === undefined) return ''
  return last.stage === 'canary' ? ` at canary ${last.shareBp / 100} %` : ` in ${last.stage}`
}

/** Records the end of a release whose row is locked, and returns the recorded state. */
export async function concludeRelease(database: Database, given: ReleaseState): Promise<ReleaseState> {
  const state = { ...given, closed: true, revision: given.revision + 1 }
  const { id, model, version, outcome, reason, rollbackResult = null, breakGlass = null } = state
  // A backup restored after the rollback may contain the candidate as champion.
  const before = outcome === 'promoted' ? undefined : await findChampion(database, model)
  if (before?.version === version && before.releaseId === id) await returnToBaseline(database, state)
  // An earlier attempt, whose response was lost, may have recorded another outcome.
  if (!(await recordEnd(database, state))) return (await findRelease(database, id))?.state ?? state
  const champion = (await findChampion(database, model))?.version
  // Probation counts only for the present champion; one that was moved by hand or lost in a restore is not proven.
  if (outcome === 'promoted' && champion === version) await markKnownGood(database, version)
  const now = await findRouting(database, model)
  const written =
    now && champion !== undefined && isRouteFor(now.route, state, champion)
      ? await routeCompletely(database, { version: champion, now: now.route })
      : undefined
  // The drill reports its own result.
  const alert = state.drill === undefined ? alertsOf[outcome ?? 'failed'] : undefined
  if (alert !== undefined) {
    // The user who has ordered it knows; channels are told of every rollback.
    const isOrdered = outcome === 'rolled_back' && (await isEndedByUser(database, id))
    // Without data there is nothing against the version.
    const isWithoutData = state.rollbackOrder?.isWithoutData === true
    const write = noticeKinds.has(alert.kind) ? insertNotice : upsertAlert
    await write(database, {
      dedupeKey: `release/${id}`,
      model,
      ...alert,
      severity: isOrdered || isWithoutData ? 'warning' : alert.severity,
      message: `${version} ${endWords[outcome ?? 'failed']}${placeOf(state)}${whyOf(state)}.${champion === undefined ? '' : ` ${champion} served all traffic then.`}`,
      evidence: { release: id, version, rollbackResult, breakGlass },
    })
  }
  await appendAudit(database, {
    actor: 'release',
    action: 'release.ended',
    subject: id,
    model,
    detail: {
      version,
      outcome: outcome ?? null,
      reason: reason ?? null,
      champion: champion ?? null,
      generation: written?.route.generation ?? null,
    },
  })
  return state
}

/**
 * Ends a release whose workflow was terminated, because its open row would block every other release of the model. Its row is locked here:
 * a late step of its workflow may have changed it since it was found.
 */
export async function endInterrupted(database: Database, id: string): Promise<void> {
  const found = await lockRelease(database, id)
  if (found === undefined || found.endedAt !== undefined) return
  const { state } = found
  const { model, version: from, rollbackOrder: given } = state
  if (state.stage === 'ended') {
    await concludeRelease(database, state)
    return
  }
  const why = given?.reason ?? 'its workflow no longer runs: it was terminated, or a backup was restored'
  const order = given ?? { outcome: 'failed' as const, reason: why, withdraw: false }
  const wasChampion = await returnToBaseline(database, { ...state, rollbackOrder: order })
  const to = (await findChampion(database, model))?.version
  const outcome = to === from ? 'promoted' : wasChampion ? 'rolled_back' : order.outcome
  const mismatches =
    outcome === 'rolled_back' && to !== undefined ? await findIncompatibilities(database, { from, to }) : []
  const reason =
    to === undefined || mismatches.length === 0
      ? why
      : `${why}; ${incompatibilityReason({ from, to }, mismatches)}`
  await concludeRelease(database, end(state, state.enteredMs, outcome, reason))
}
