/**
 * Raises alerts for releases that wait for an approval or a decision, resolves the answered ones, and reports promotions. Resolves the
 * alerts of rollbacks once the version that serves answers well, and those of other ends once a later release is promoted.
 */
import { costText } from '../../../domain/model/cost.ts'
import { loadText, type LoadTest } from '../../../domain/model/load-test.ts'
import type { GateReport } from '../../../domain/evaluation/gate.ts'
import { completeMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { servedWellText } from '../../../domain/monitoring/service-level.ts'
import { listServedSince, resolvePromotedSince, resolveServed } from '../../../store/monitoring/alerts.ts'
import {
  insertNotice,
  listClosedRequests,
  listAsking,
  listPromoted,
  resolveRequest,
  upsertRequest,
} from '../../../store/monitoring/release-requests.ts'
import type { Store } from '../../../store/postgres.ts'
import { readLastMinute } from '../../../store/registry/champion-watch.ts'
import { judgeMinute, type LastMinute } from '../../../domain/monitoring/last-minute.ts'
import { gateWarnings, type ReportedConcerns } from '../../../domain/evaluation/reasons.ts'
import { worstSlicesFirst } from '../../../domain/evaluation/slices.ts'
import { capitalized, counted, levelPercent, metricName, signedGain } from '../../../domain/figures.ts'
import { approversOf } from '../../../domain/release/approval.ts'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import type { VersionLineage } from '../../../domain/registry/version.ts'
import { refitText } from '../../../domain/training/refit.ts'

export async function reportReleases(store: Store): Promise<void> {
  for (const { id, monitor, ...served } of await listServedSince(store)) {
    const measured = servedWellText(served, completeMonitorPolicy(monitor).service)
    if (measured !== undefined) await resolveServed(store, { id, measured })
  }
  await resolvePromotedSince(store)
  for (const { id, version, answer } of await listClosedRequests(store))
    await resolveRequest(store, { id, message: `${version}: ${answer ?? 'the release has moved on'}` })
  const asking = await listAsking(store)
  const minutes = await readLastMinute(
    store,
    asking.map(({ state }) => state.model),
  )
  for (const { state, report, excess, owner, lineage, loadTest } of asking) {
    const evidence = { report: readable(report), excess, owner, lineage, loadTest }
    const request = releaseRequest(state, evidence)
    if (request === undefined) continue
    const { dedupeKey, kind, message, headline, untilMs } = request
    await upsertRequest(store, {
      dedupeKey,
      kind,
      model: state.model,
      severity: 'warning',
      message,
      evidence: {
        ...subjectOf(state),
        digests: state.digests,
        headline,
        owner,
        until: new Date(untilMs).toISOString(),
        callers: callersWhile(minutes.get(state.model), state.version),
      },
    })
  }
  for (const { state, report, owner } of await listPromoted(store)) {
    const { headline, message } = promotionNotice(state, { report: readable(report) })
    await insertNotice(store, {
      dedupeKey: `promoted/${state.id}/${state.stage}`,
      kind: 'release_promoted',
      model: state.model,
      severity: 'info',
      message,
      evidence: { ...subjectOf(state), headline, owner },
    })
  }
}

/** While the champion fails, the version that waits may be the remedy. Undefined while it serves well. */
const callersWhile = ({ champion }: Partial<LastMinute> = {}, version: string): string | undefined =>
  champion === undefined || judgeMinute(champion) !== 'failing'
    ? undefined
    : `${champion.version}, which serves them, fails above its limit; ${version} may end that.`

const subjectOf = ({ id, version }: { id: string; version: string }) => ({ release: id, version })

/** Returns undefined for a report whose shape, written by another build, is unknown. */
const readable = (report: Partial<GateReport> | undefined): GateReport | undefined =>
  Array.isArray(report?.metrics) && Array.isArray(report.slices) && report.policy !== undefined
    ? (report as GateReport)
    : undefined

// Writes the texts of release notifications: the request for an approval or a decision with its evidence, deadline and the users who may
// not answer, and the notice of a promotion.

export interface RequestText {
  kind: 'approval_needed' | 'decision_needed'
  /** Equal while the release asks the same question. */
  dedupeKey: string
  /** The question with the gain, as the subject of an e-mail. */
  headline: string
  message: string
  /** The deadline, in ms on the clock of the release; without an answer, the release ends then. */
  untilMs: number
}

export interface RequestEvidence {
  /** Absent if this build cannot read the report. */
  report?: Pick<GateReport, 'metrics' | 'slices' | 'sliceSearch' | 'policy'> & ReportedConcerns
  /** Failed requests above the control's rate so far; absent before the first verdict. */
  excess?: number
  /** The owner named in the model file. */
  owner?: string
  lineage?: Pick<VersionLineage, 'snapshot' | 'refit'>
  /** The last load test of the version. */
  loadTest?: LoadTest
}

/** Returns undefined unless the release waits for an answer now. A drill never asks. */
export function releaseRequest(state: ReleaseState, evidence: RequestEvidence): RequestText | undefined {
  const { id, stage, version, enteredMs, drill } = state
  if (drill !== undefined || (stage !== 'awaiting_approval' && stage !== 'awaiting_decision'))
    return undefined
  const effect = nextEffect(state)
  const untilMs = 'untilMs' in effect ? effect.untilMs : undefined
  if (untilMs === undefined) return undefined
  const isApproval = stage === 'awaiting_approval'
  const question = isApproval ? `Approve ${version}?` : `Decide on ${version}?`
  const gain = gainOf(state, evidence)
  const parts = [
    ...(isApproval
      ? []
      : [`${capitalized(placeOf(state))}: ${state.lastVerdict?.reason ?? 'not enough evidence'}`]),
    capitalized(gain.whole),
    worstSlice(evidence),
    ...foundSlices(evidence),
    ...[refitText(evidence.lineage ?? {}) ?? []].flat().map(capitalized),
    ...(isApproval && state.cost ? [costText(state.cost)] : []),
    ...(isApproval && evidence.loadTest ? [`Load test: ${loadText(evidence.loadTest)}`] : []),
    ...gateWarnings(evidence.report).map(capitalized),
    harmOf(state, evidence),
    `${isApproval ? 'Expires' : 'Rolls back'} ${minuteText(untilMs)} without an answer`,
    ...refusedApprovers(state),
    ...(evidence.owner === undefined ? [] : [`Owner: ${evidence.owner}`]),
  ]
  return {
    kind: isApproval ? 'approval_needed' : 'decision_needed',
    dedupeKey: `request/${id}/${stage}/${enteredMs}`,
    headline: `${question} ${gain.short}`,
    message: `${question} ${parts.join('. ')}.`,
    untilMs,
  }
}

/** Formats the gain in the primary metric, with its interval, and without it for a subject line. */
function gainOf({ baseline }: ReleaseState, { report }: RequestEvidence): { short: string; whole: string } {
  const row = report?.metrics.find(({ metric }) => metric === report.policy.primary)
  if (report === undefined || row === undefined)
    return { short: 'No evaluation', whole: 'no readable evaluation' }
  const name = metricName(row.metric)
  if (row.delta === null || baseline === undefined) {
    const value = `${name} ${row.challenger === null ? 'not measured' : Number(row.challenger.toPrecision(4))}`
    const floor = row.floor === null ? '' : `, floor ${row.floor}`
    return { short: value, whole: `first version: ${value}${floor}` }
  }
  const short = `${name} ${signedGain(row.delta)}`
  const percent = levelPercent(report.policy.confidence)
  const interval =
    row.low === null || row.high === null
      ? ''
      : ` (${percent} % interval ${signedGain(row.low)} to ${signedGain(row.high)})`
  return { short, whole: `${short} against ${baseline}${interval}` }
}

function worstSlice({ report }: RequestEvidence): string {
  const slices = report?.slices ?? []
  const worst = worstSlicesFirst(slices).find(({ delta }) => delta !== null)
  if (worst !== undefined) return `Worst slice ${worst.name} ${signedGain(worst.delta)}`
  return slices.length === 0 ? 'No slices are defined' : 'No slice could be compared'
}

/** Names the most certain slice that a search has found. */
function foundSlices({ report }: RequestEvidence): string[] {
  const [first, ...more] = report?.sliceSearch?.found ?? []
  if (first === undefined) return []
  const others = more.length === 0 ? '' : ` and in ${counted(more.length, 'other slice')}`
  return [
    `Worse where ${first.name} (${counted(first.rows.proving, 'test row')})${others}, as a search found`,
  ]
}

/** Names the failure budget: the actual harm is unknown before the release. */
function harmOf({ policy, stage, baseline }: ReleaseState, { excess }: RequestEvidence): string {
  const { harmBudget } = policy.limits
  if (baseline === undefined) return 'No champion to compare failures with'
  const budget = `${harmBudget} failed requests more than ${baseline} would have had`
  if (stage === 'awaiting_approval') return `Failure budget: ${budget}`
  return `Failure budget: ${Number((excess ?? 0).toPrecision(3))} used of ${budget}`
}

const placeOf = ({ undecidedStage = 'canary', shareBp }: ReleaseState): string =>
  undecidedStage === 'canary' ? `canary ${shareBp / 100} %` : undecidedStage

/** Returns the users whose answer would be refused. */
function refusedApprovers({ requestedBy, approvals, stage, policy: { approval } }: ReleaseState): string[] {
  const given = stage === 'awaiting_approval' ? approvals.map(({ by }) => by) : []
  return [
    `Requested by ${requestedBy}, who cannot approve`,
    ...(given.length > 0 ? [`Approved so far by ${given.join(', ')}`] : []),
    ...(approval.from === undefined ? [] : [`Only ${approval.from.join(', ')} may approve`]),
  ]
}

const minuteText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`

/** Writes the notice of a promotion: one when the version becomes champion, and one when its probation has passed. */
export function promotionNotice(
  state: ReleaseState,
  { report }: RequestEvidence = {},
): { headline: string; message: string } {
  const { version, baseline, stage, policy, enteredMs, reason, approvals } = state
  const place = baseline === undefined ? 'first champion' : `replaces ${baseline}`
  const names = approversOf(approvals)
  const by = names.length === 0 ? [] : [`approved by ${names.join(' and ')}`]
  const gain = gainOf(state, { report }).whole
  if (stage === 'ended')
    return {
      headline: `${version} is promoted`,
      message: `${version} is promoted (${place}): ${[reason ?? 'passed all stages', gain, ...by].join('; ')}.`,
    }
  const until = minuteText(enteredMs + (policy.probation?.minMs ?? 0))
  return {
    headline: `${version} is champion, in probation`,
    message: `${version} is champion (${place}): ${[gain, ...by, `in probation until ${until} or later, still rolled back automatically`].join('; ')}.`,
  }
}
