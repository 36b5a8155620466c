/** Runs the judge on the evidence of one look and stores evidence and verdict. */
import { isAbMetric, judgeAb, withAb, type AbCohort, type AbFinding } from '../../domain/canary/ab-test.ts'
import { abOfBusiness, businessRows, type BusinessRow } from '../../domain/canary/business-metric.ts'
import { externalRows, type ExternalRow } from '../../domain/canary/external/external-metric.ts'
import type { CanaryEvidence } from '../../domain/canary/evidence.ts'
import { reportDisagreement, type DisagreementReport } from '../../domain/canary/disagreement.ts'
import { failedRequests, servedIn } from '../../domain/canary/counts.ts'
import { judgeHoldback, meanLoss } from '../../domain/canary/holdback.ts'
import { judgeCanary } from '../../domain/canary/judge.ts'
import { budgetCode } from '../../domain/drill.ts'
import { groupedDigits, percentText, ratioOf } from '../../domain/figures.ts'
import { canaryEvidenceOf, canaryTicks, type Observation } from '../../domain/release/evidence-builder.ts'
import { isBreakGlass, observedStage, type ReleaseState } from '../../domain/release/state.ts'
import type { Reason, Verdict, VerdictKind } from '../../domain/verdict.ts'
import type { Database } from '../../store/postgres.ts'
import { findFailVerdict, insertDecision } from '../../store/release/decisions.ts'
import type { Deps } from '../deps.ts'

/** The verdict of one look, with its counts. */
export interface Judgement {
  verdict: Verdict
  /** The verdict in one sentence. */
  reason: string
  inputs: Record<string, unknown>
}

export function judge(state: ReleaseState, observation: Observation): Judgement {
  const evidence = canaryEvidenceOf(state, observation)
  const finding = abFinding(state, evidence, observation)
  const whole = judgeCanary(evidence, state.policy.limits)
  // A break-glass release must not be worse than the champion; it need not prove that it is better.
  const isOpen = finding === undefined || (isBreakGlass(state) && finding.kind !== 'worse')
  const verdict = isOpen ? whole : withAb(whole, finding)
  return withHoldback(state, observation, judgementOf(state, evidence, observation, verdict))
}

function judgementOf(
  state: ReleaseState,
  evidence: CanaryEvidence,
  observation: Observation,
  verdict: Verdict,
): Judgement {
  const total = (arm: 'canary' | 'control' | 'targeted') => {
    const sum = { requests: 0, errors: 0, invalid: 0, slow95: 0, slow99: 0 }
    for (const tick of evidence.ticks)
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += tick[arm]?.[name] ?? 0
    return sum
  }
  return {
    verdict,
    reason: failuresInStage(verdict, state, observation) ?? reasonOf(verdict),
    inputs: {
      stage: evidence.stage,
      staleMs: evidence.staleMs,
      watchedMs: observation.watchedMs,
      ticks: evidence.ticks.length,
      paired: evidence.paired,
      breakers: evidence.breakers,
      canary: total('canary'),
      control: total('control'),
      targeted: evidence.ticks.some(({ targeted }) => targeted) ? total('targeted') : undefined,
      answers: answersOf(evidence),
      disagreement: disagreementOf(evidence, state),
      business: businessOf(evidence, state),
      external: externalOf(evidence, state),
    },
  }
}

const failureCodes: ReadonlySet<string> = new Set(['error_rate', 'invalid_rate', 'guard'])

/**
 * Describes the failures of this stage when failures decide the verdict. The verdict pools the earlier stages, so its rate differs from
 * the rate that callers of this stage saw; the pooled rate is stored with the evidence. A tick counts for the stage of its route, because
 * a tick may begin before the stage.
 */
function failuresInStage(
  { kind, reasons }: Verdict,
  state: ReleaseState,
  { counted }: Observation,
): string | undefined {
  if (kind !== 'fail' || !failureCodes.has(reasons[0]?.code ?? '')) return undefined
  const since = state.routings.at(-1)?.generation ?? 0
  const seen = { requests: 0, bad: 0, errors: 0, control: 0, controlBad: 0 }
  const ticks = canaryTicks(
    state,
    counted.filter(({ generation }) => generation >= since),
  )
  for (const tick of ticks) {
    const served = servedIn(tick)
    seen.requests += served.requests
    seen.bad += served.bad
    seen.errors += tick.canary.errors + (tick.targeted?.errors ?? 0)
    seen.control += tick.control.requests
    seen.controlBad += failedRequests(tick.control)
  }
  const { requests, bad, errors, control, controlBad } = seen
  if (bad === 0) return undefined
  const whose = whoseRequests(state)
  const beside = control === 0 ? '' : `, control ${percentText(ratioOf(controlBad, control))}`
  return `${groupedDigits(bad)} of ${groupedDigits(requests)} ${whose} requests ${errors === 0 ? 'invalid' : 'failed'} (${percentText(ratioOf(bad, requests))})${beside}`
}

const whoseRequests = ({ stage, routings }: ReleaseState): string => {
  if (stage === 'shadow') return 'shadow'
  return routings.some((each) => each.stage === 'targeted') ? 'candidate' : 'canary'
}

/** The answer counts of both arms over the release; absent when answers are not counted. */
function answersOf({ ticks, answerNames: names, answersPerKey: perKey }: CanaryEvidence) {
  const of = (arm: 'canary' | 'control') => {
    const counted = ticks.flatMap((tick) => (tick[arm].answers === undefined ? [] : [tick[arm].answers]))
    return names?.map((_, i) => counted.reduce((sum, each) => sum + (each[i] ?? 0), 0))
  }
  return names === undefined || names.length === 0
    ? undefined
    : { names, canary: of('canary'), control: of('control'), perKey }
}

function disagreementOf(
  { disagreement }: CanaryEvidence,
  state: ReleaseState,
): DisagreementReport | undefined {
  const { disagreement: policy, alpha } = state.policy.limits
  if (observedStage(state) !== 'shadow' || disagreement === undefined || policy === 'off') return undefined
  const report = reportDisagreement(disagreement, policy, alpha.disagreement)
  return { ...report, slices: report.slices.slice(0, maxSlices) }
}

/** The figures of each business metric, with the limits of its policy. */
function businessOf(
  { business }: CanaryEvidence,
  { policy: { limits } }: ReleaseState,
): BusinessRow[] | undefined {
  const { business: metrics, alpha } = limits
  if (business === undefined || metrics === undefined || alpha.business === undefined) return undefined
  return businessRows(business, metrics, alpha.business)
}

/** The figures of each external metric, with the limits of its policy. */
function externalOf(
  { external }: CanaryEvidence,
  { policy: { limits } }: ReleaseState,
): ExternalRow[] | undefined {
  const { external: metrics, alpha } = limits
  if (external === undefined || metrics === undefined || alpha.external === undefined) return undefined
  return externalRows(external, metrics, alpha.external)
}

/** A stored decision keeps this many slices, the worst first. */
const maxSlices = 10

/** In probation, adds the comparison of the new champion's outcomes with those of the holdback. */
function withHoldback(
  { policy: { limits }, strategy }: ReleaseState,
  { holdback }: Observation,
  judgement: Judgement,
): Judgement {
  const { quality } = limits.alpha
  if (holdback === undefined || quality === undefined) return judgement
  // The A/B test of the release has spent the other half of α.
  const { logE, reason } = judgeHoldback(holdback, strategy === 'ab' ? quality / 2 : quality, limits.minDelta)
  const { verdict, inputs } = judgement
  const statistics = {
    ...verdict.statistics,
    holdbackLogE: logE,
    holdbackLoss: meanLoss(holdback.control),
    championLoss: meanLoss(holdback.candidate),
  }
  const { candidate, control } = holdback
  const told = {
    ...judgement,
    verdict: { ...verdict, statistics },
    inputs: { ...inputs, holdback: { candidate, control } },
  }
  return overruled(told, 'fail', reason ?? undefined)
}

const reasonOf = ({ kind, reasons }: Verdict): string =>
  reasons.map(({ message }) => message).join('; ') || `the judge says ${kind}`

/** Why an earlier look failed the candidate; undefined when none did. */
export async function failureOf(database: Database, { id }: ReleaseState): Promise<string | undefined> {
  const verdict = await findFailVerdict(database, id)
  return verdict && reasonOf(verdict)
}

/** The result of the declared A/B test; undefined for other strategies. */
function abFinding(
  state: ReleaseState,
  { ticks, stage, business }: CanaryEvidence,
  { cohorts = [] }: Observation,
): AbFinding | undefined {
  const { ab, limits } = state.policy
  if (state.strategy !== 'ab' || ab === undefined || observedStage(state) !== 'canary') return undefined
  const { metric } = ab
  if (!isAbMetric(metric)) return abOfBusiness(metric, business?.[metric], ab)
  const quality = limits.alpha.quality / 2
  const { alpha } = ab
  if (metric !== 'errors')
    return judgeAb(cohorts, { metric, alpha }, metric === 'accuracy' ? quality : limits.alpha.conversion)
  const counted = ticks
    .filter(({ startMs }) => startMs >= stage.startedMs)
    .map(({ startMs: atMs, canary, control }): AbCohort => ({
      atMs,
      canary: { total: canary.requests, events: failedRequests(canary) },
      control: { total: control.requests, events: failedRequests(control) },
    }))
  return judgeAb(counted, { metric, alpha }, quality)
}

/** Overrules a verdict with a reason, which comes first. A verdict against the candidate stands. */
export function overruled(judgement: Judgement, kind: VerdictKind, reason: Reason | undefined): Judgement {
  const { verdict } = judgement
  if (reason === undefined || verdict.kind === 'fail') return judgement
  const reasons = [reason, ...verdict.reasons]
  return { ...judgement, verdict: { ...verdict, kind, reasons }, reason: reason.message }
}

/** While a kill switch pins the model, the candidate gets no requests, so its old counts must not pass it. */
export function withKillSwitch(judgement: Judgement, pinned: string | undefined): Judgement {
  if (pinned === undefined) return judgement
  return overruled(judgement, 'no_data', { code: 'kill_switch', message: pinned, values: {} })
}

/**
 * Holds a pass while a live replica lags, for example after a restart with an older build: its responses are unobserved. The reason names
 * the replica.
 */
export function withReplicaCheck(judgement: Judgement, behind: readonly string[]): Judgement {
  if (behind.length === 0) return judgement
  const message = `not every replica has acknowledged: ${behind.join('; ')}`
  const values = { replicas: behind.length }
  return overruled(judgement, 'no_data', { code: 'replica_lagging', message, values })
}

/** Ends a drill on live traffic when its harm budget is spent, even without a verdict. */
export function withDrillBudget(state: ReleaseState, judgement: Judgement): Judgement {
  const { verdict, inputs } = judgement
  if (state.drill === undefined || state.strategy === 'shadow' || verdict.kind === 'fail') return judgement
  const { errors, invalid, slow95 } = inputs['canary'] as Record<'errors' | 'invalid' | 'slow95', number>
  // The harm of a slow candidate is its slow requests.
  const harmed = state.drill === 'slow' ? slow95 : errors + invalid
  const { harmBudget } = state.policy.limits
  if (harmed <= harmBudget) return judgement
  const message = `${harmed} requests were harmed without a verdict, the harm budget of the drill is ${harmBudget}`
  const reason: Reason = { code: budgetCode, message, values: { harmed, harmBudget } }
  return { ...judgement, verdict: { ...verdict, kind: 'fail', reasons: [reason] }, reason: message }
}

export async function recordDecision(deps: Deps, state: ReleaseState, judgement: Judgement): Promise<void> {
  const { verdict, inputs, reason } = judgement
  const { id: release, stage, stageIndex, digests } = state
  const decision = await insertDecision(deps.store, {
    releaseId: release,
    stage,
    stageIndex,
    verdict,
    inputs,
    policyDigest: digests.policy,
  })
  deps.log.info({ release, decision, stage, verdict: verdict.kind, judge: verdict.judge }, reason)
}
