/**
 * Ends a release in the database: reverts to the baseline, closes its rows, and ends interrupted releases. Each is one transaction,
 * because half of one would leave a route without a watcher.
 */
import { noticeKinds, type AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import type { ReleaseOutcomeKind, ReleaseState } from '../../domain/release/state.ts'
import { totalBp, type Route } from '../../domain/serving/route.ts'
import { incompatibilityReason } from '../../domain/registry/schema-compatibility.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import { end } from '../../domain/release/transitions.ts'
import { noDataPrefix } from '../../domain/verdict.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import { insertNotice } from '../monitoring/release-requests.ts'
import { appendAudit } from '../audit/audit-log.ts'
import {
  findChampion,
  findIncompatibilities,
  findRollbackTarget,
  lockChampion,
  markKnownGood,
  markVersionRolledBack,
  moveChampion,
} from '../registry/champions.ts'
import type { Database } from '../postgres.ts'
import { isEndedByUser } from '../commands.ts'
import { closeRelease, findReleasable, findRelease, lockRelease, markRolledBack } from './releases.ts'
import { findRouting, writeRoute, type Routing } from '../serving/routing.ts'

/** Returns whether the candidate was champion. `actor`: the user who ordered it, if any. */
export async function returnToBaseline(
  database: Database,
  state: ReleaseState,
  actor = 'release',
): Promise<boolean> {
  const { id, model, version, rollbackOrder: order } = state
  // A step that comes after the end must change nothing.
  if ((await lockRelease(database, id))?.endedAt !== undefined) return wasPromoted(database, state)
  // From here on, late steps of this release can neither route nor promote.
  await markRolledBack(database, id)
  // Locked, because a champion moved by hand between two statements would count as routed.
  const champion = await lockChampion(database, model)
  const now = await findRouting(database, model)
  const reason = order?.reason ?? ''
  const isChampion = champion?.version === version && champion.releaseId === id
  const target = isChampion ? await targetOf(database, state) : champion?.version
  if (isChampion && target !== undefined) {
    await moveChampion(database, {
      model,
      from: version,
      to: target,
      releaseId: id,
      cause: 'rollback',
      actor,
      reason,
    })
    await markVersionRolledBack(database, version)
  } else if (order?.withdraw === true && !isChampion) await markVersionRolledBack(database, version)
  // After the restore of a backup, the champion has a route without a release.
  const written =
    now && target !== undefined && (isChampion || isRouteFor(now.route, state, target))
      ? await routeCompletely(database, { version: target, now: now.route })
      : undefined
  if (written || (isChampion && target !== undefined))
    await appendAudit(database, {
      actor,
      action: isChampion ? 'champion.rolled_back' : 'release.rolled_back',
      subject: isChampion ? version : id,
      model,
      detail: { release: id, from: version, to: target ?? null, reason, route: written?.route ?? null },
    })
  return isChampion || (await wasPromoted(database, state))
}

/**
 * Whether replicas may serve the version because of this route although another one is champion. A restored route names no release and
 * keeps the proven version, which a replica without a lease serves.
 */
const isRouteFor = (route: Route, { id, version }: ReleaseState, champion: string): boolean =>
  route.release === id || (route.proven === version && champion !== version)

/** Whether an earlier attempt has already moved the champion. */
async function wasPromoted(database: Database, state: ReleaseState): Promise<boolean> {
  if (state.promoted) return true
  const champion = await findChampion(database, state.model)
  return champion?.releaseId === state.id && champion.version !== state.version
}

/** The baseline of the release; if that was rolled back, the last proven version before it. */
export async function targetOf(
  database: Database,
  { model, version, baseline }: ReleaseState,
): Promise<string | undefined> {
  const known = baseline === undefined ? undefined : await findReleasable(database, baseline)
  return known && !known.withdrawn ? baseline : findRollbackTarget(database, { model, from: version })
}

/** Routes everything to one version without a release. The previous version stays loaded for a fast rollback. */
export async function routeCompletely(
  database: Database,
  { version, now }: { version: string; now: Route },
): Promise<Routing> {
  const { model, salt } = now
  const standby = await findRollbackTarget(database, { model, from: version })
  const arms = [{ arm: 'champion' as const, version, shareBp: totalBp }]
  return writeRoute(database, { route: { model, salt, arms, proven: version, standby }, replaces: now })
}

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
  const names = [...new Set(approvals.map(({ by }) => by))]
  return ` ${ordered}${names.length === 0 ? '' : `; approved by ${names.join(' and ')}`}`
}

/** The last stage in which the candidate got requests. */
function placeOf({ routings }: ReleaseState): string {
  const last = routings.at(-1)
  if (last === undefined) return ''
  return last.stage === 'canary' ? ` at canary ${last.shareBp / 100} %` : ` in ${last.stage}`
}

/** Records the end of a release whose row is locked, and returns the recorded state. */
export async function close(database: Database, given: ReleaseState): Promise<ReleaseState> {
  const state = { ...given, closed: true, revision: given.revision + 1 }
  const { id, model, version, outcome, reason, rollbackResult = null, breakGlass = null } = state
  // A backup restored after the rollback may contain the candidate as champion.
  const before = outcome === 'promoted' ? undefined : await findChampion(database, model)
  if (before?.version === version && before.releaseId === id) await returnToBaseline(database, state)
  // An earlier attempt, whose response was lost, may have recorded another outcome.
  if (!(await closeRelease(database, state))) return (await findRelease(database, id))?.state ?? state
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
    const isWithoutData = reason?.startsWith(noDataPrefix) === true
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

/** Ends a release whose workflow was terminated, because its open row would block every other release of the model. */
export async function endInterrupted(database: Database, state: ReleaseState): Promise<void> {
  const { model, version: from, rollbackOrder: given } = state
  if (state.stage === 'ended') {
    await close(database, state)
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
  await close(database, end(state, state.enteredMs, outcome, reason))
}
