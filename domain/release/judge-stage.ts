/**
 * Judges the evidence of one look at a stage. A verdict follows from what the look has read and from nothing else, so that the same code
 * repeats it years later, from the stored evidence or from the certificate of the release.
 */
import type { AbCohort } from '../canary/ab-cohorts.ts'
import { isAbMetric, judgeAb, judgeAbLosses, withAb, type AbFinding } from '../canary/ab-test.ts'
import { abOfBusiness, businessRows, type BusinessRow } from '../canary/business-metric.ts'
import { externalRows, type ExternalRow } from '../canary/external/external-metric.ts'
import { rateMessage, slowNouns } from '../canary/arm-comparison.ts'
import {
  armNoun,
  type ArmCounts,
  type CanaryEvidence,
  type CanaryStage,
  type CanaryTick,
} from '../canary/evidence.ts'
import { reportDisagreement, type DisagreementReport } from '../canary/disagreement.ts'
import { failedRequests } from '../canary/counts.ts'
import { judgeHoldback, meanLoss } from '../canary/holdback.ts'
import { judgeCanary } from '../canary/incremental-judge.ts'
import { budgetCode } from '../drill.ts'
import { percentText } from '../figures.ts'
import { withoutEvidence } from './explain.ts'
import {
  canaryEvidenceOf,
  canaryTicks,
  heldComparisons,
  withoutHeld,
  type CountedTick,
  type HeldComparisons,
  type Observation,
  type OutcomeComparison,
} from './evidence-builder.ts'
import { sumOf } from '@tenure/sequential'
import { isBreakGlass, observedStage, type JudgedState } from './state.ts'
import type { Reason, Verdict, VerdictKind } from '../verdict.ts'

/** The verdict of one look, with its counts. */
export interface Judgement {
  verdict: Verdict
  /** The verdict in one sentence. */
  reason: string
  inputs: Record<string, unknown>
}

export function judge(state: JudgedState, seen: Observation): Judgement {
  const held = heldComparisons(seen)
  const observation = withoutHeld(seen, held)
  const evidence = canaryEvidenceOf(state, observation)
  const finding = abFinding(state, evidence, observation, held)
  const whole = judgeCanary(evidence, state.policy.limits)
  // A break-glass release must not be worse than the champion; it need not prove that it is better.
  const isOpen = finding === undefined || (isBreakGlass(state) && finding.kind !== 'worse')
  const verdict = withStageCounts(isOpen ? whole : withAb(whole, finding), evidence.stage, state, observation)
  const judged = withHoldback(state, observation, judgementOf(state, evidence, observation, verdict))
  return withHeldComparisons(judged, held, provesQuality(state, evidence))
}

/**
 * Tells which outcomes were not compared. Those of arms hold the stage, as a sample ratio mismatch does, and those of a shadow one that
 * takes its proof from them; a business metric only lacks its own comparison.
 */
function withHeldComparisons(judgement: Judgement, held: HeldComparisons, isProof: boolean): Judgement {
  const { verdict } = judgement
  const untold = Object.values(held).filter((reason) => !verdict.reasons.includes(reason))
  const isHeld = [...ofArms, ...(isProof ? ['shadow'] : [])].some((name) => Object.hasOwn(held, name))
  // A question is asked at once only where nothing but its answer is missing.
  const isAsked = verdict.questions !== undefined && !isHeld
  if (untold.length === 0 || verdict.kind === 'fail' || isAsked) return judgement
  const told =
    isHeld && verdict.kind === 'pass'
      ? { ...verdict, kind: 'inconclusive' as const, reasons: untold }
      : { ...verdict, reasons: [...verdict.reasons, ...untold] }
  return { ...judgement, verdict: told, reason: reasonOf(told) }
}

/** Whether a pass of the stage proves by pairs that the loss is not higher. */
const provesQuality = ({ policy: { limits } }: JudgedState, { stage }: CanaryEvidence): boolean =>
  Boolean(limits.nonInferiority) && stage.last && stage.promoted !== true

/** The comparisons of outcomes of arms that are served beside each other. */
const ofArms: readonly OutcomeComparison[] = ['holdback', 'cohorts', 'losses']

function judgementOf(
  state: JudgedState,
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
    reason: reasonOf(verdict),
    inputs: {
      stage: evidence.stage,
      staleMs: evidence.staleMs,
      watchedMs: observation.watchedMs,
      ticks: evidence.ticks.length,
      paired: evidence.paired,
      pairedLosses: evidence.pairedLosses,
      breakers: evidence.breakers,
      canary: total('canary'),
      control: total('control'),
      targeted: evidence.ticks.some(({ targeted }) => targeted) ? total('targeted') : undefined,
      answers: answersOf(evidence),
      disagreement: disagreementOf(evidence, state),
      business: businessOf(evidence, state),
      external: externalOf(evidence, state),
      served: evidence.served,
    },
  }
}

/** What each rate of a failing verdict counts. */
const countedBy: Readonly<Record<string, 'failures' | 'slow95' | 'slow99'>> = {
  error_rate: 'failures',
  invalid_rate: 'failures',
  guard: 'failures',
  slow95_rate: 'slow95',
  slow99_rate: 'slow99',
}

/**
 * Words each rate of a failing verdict with the counts of its stage, which are what its callers saw. The tests pool the earlier stages,
 * with the copies of a shadow; the evidence names its own counts, from the moment of the proof. A tick counts for the stage of its route, because it may
 * begin before the stage.
 */
function withStageCounts(
  verdict: Verdict,
  stage: CanaryStage,
  state: JudgedState,
  seen: Observation,
): Verdict {
  if (verdict.kind !== 'fail') return verdict
  const since = state.routings.at(-1)?.generation ?? 0
  const counted = seen.counted.filter(({ generation }) => generation >= since)
  const ticks = canaryTicks(state, counted)
  const reasons = verdict.reasons.map((reason): Reason => {
    const what = countedBy[reason.code]
    const message = what === undefined ? undefined : stageRate(reason, what, ticks, armNoun(stage))
    return message === undefined ? reason : { ...reason, message }
  })
  return { ...verdict, reasons }
}

/** Undefined when the stage has no such request. */
function stageRate(
  { values }: Reason,
  what: 'failures' | 'slow95' | 'slow99',
  ticks: readonly CanaryTick[],
  whose: string,
): string | undefined {
  const eventsOf = (arm: ArmCounts) => (what === 'failures' ? failedRequests(arm) : arm[what])
  const targeted = what === 'failures' ? ticks.flatMap((tick) => tick.targeted ?? []) : []
  const served = [...ticks.map(({ canary }) => canary), ...targeted]
  const control = ticks.map((tick) => tick.control)
  const [events, requests] = [sumOf(served.map(eventsOf)), sumOf(served.map((arm) => arm.requests))]
  const controlRequests = sumOf(control.map((arm) => arm.requests))
  if (events === 0) return undefined
  const noun =
    what !== 'failures' ? slowNouns[what] : served.some(({ errors }) => errors > 0) ? 'failed' : 'invalid'
  return rateMessage({
    events,
    requests,
    what: `${targeted.length > 0 ? 'candidate requests' : whose} ${noun}`,
    beside:
      controlRequests === 0
        ? undefined
        : `control ${percentText(sumOf(control.map(eventsOf)) / controlRequests)}`,
    logE: Number(values['logE']),
    threshold: Number(values['threshold']),
    proof: {
      events: Number(values['bad'] ?? values['canaryEvents']),
      requests: Number(values['requests'] ?? values['canaryRequests']),
    },
  })
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
  { disagreement, predicted }: CanaryEvidence,
  state: JudgedState,
): DisagreementReport | undefined {
  const { disagreement: policy, alpha } = state.policy.limits
  if (observedStage(state) !== 'shadow' || disagreement === undefined || policy === 'off') return undefined
  const report = reportDisagreement(disagreement, policy, alpha.disagreement, predicted)
  return { ...report, slices: report.slices.slice(0, maxSlices) }
}

/** The figures of each business metric, with the limits of its policy. */
function businessOf(
  { business }: CanaryEvidence,
  { policy: { limits } }: JudgedState,
): BusinessRow[] | undefined {
  const { business: metrics, alpha } = limits
  if (business === undefined || metrics === undefined || alpha.business === undefined) return undefined
  return businessRows(business, metrics, alpha.business)
}

/** The figures of each external metric, with the limits of its policy. */
function externalOf(
  { external }: CanaryEvidence,
  { policy: { limits } }: JudgedState,
): ExternalRow[] | undefined {
  const { external: metrics, alpha } = limits
  if (external === undefined || metrics === undefined || alpha.external === undefined) return undefined
  return externalRows(external, metrics, alpha.external)
}

/** A stored decision keeps this many slices, the worst first. */
const maxSlices = 10

/** In probation, adds the comparison of the new champion's outcomes with those of the holdback. */
function withHoldback(
  { policy: { limits }, strategy }: JudgedState,
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
  const judged = {
    ...judgement,
    verdict: { ...verdict, statistics },
    inputs: { ...inputs, holdback: { candidate, control } },
  }
  return overruled(judged, 'fail', reason ?? undefined)
}

/** A rate that fails comes alone: the reasons after it are of the same requests. */
export function reasonOf({ kind, reasons }: Verdict): string {
  const [first] = reasons
  if (first === undefined) return `the judge says ${kind}`
  if (kind === 'fail' && first.code in countedBy) return withoutEvidence(first.message)
  return reasons.map(({ message }) => message).join('; ')
}

/** The result of the declared A/B test; undefined for other strategies. */
function abFinding(
  state: JudgedState,
  { ticks, stage, business }: CanaryEvidence,
  { cohorts = [], losses }: Observation,
  held: HeldComparisons,
): AbFinding | undefined {
  const { ab, limits } = state.policy
  if (state.strategy !== 'ab' || ab === undefined || observedStage(state) !== 'canary') return undefined
  const { metric } = ab
  const reason = isAbMetric(metric) ? (held['cohorts'] ?? held['losses']) : held[`business/${metric}`]
  if (reason !== undefined) return { kind: 'open', reason, statistics: {} }
  if (!isAbMetric(metric)) return abOfBusiness(metric, business?.[metric], ab)
  const quality = limits.alpha.quality / 2
  const { alpha } = ab
  if (metric === 'loss') return judgeAbLosses(losses, { alpha }, quality)
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

/**
 * Holds a pass until all outcomes have been read, which takes minutes for millions of users, and until its served rows have been compared
 * with training.
 */
export function withUnread(
  judgement: Judgement,
  { isUnread, served }: Pick<Observation, 'isUnread' | 'served'>,
): Judgement {
  if (judgement.verdict.kind !== 'pass') return judgement
  const hold = (kind: VerdictKind, code: string, message: string) =>
    overruled(judgement, kind, { code, message, values: {} })
  if (isUnread) return hold('no_data', 'outcomes_unread', 'the outcomes of its users are still being read')
  if (served?.isUnread)
    return hold('inconclusive', 'served_unread', 'its served rows are still being compared with training')
  return judgement
}

/** Ends a drill on live traffic when its harm budget is spent, even without a verdict. */
export function withDrillBudget(state: JudgedState, judgement: Judgement): Judgement {
  const { verdict, inputs } = judgement
  if (state.drill === undefined || state.strategy === 'shadow' || verdict.kind === 'fail') return judgement
  const { errors, invalid, slow95 } = inputs['canary'] as Record<'errors' | 'invalid' | 'slow95', number>
  // The harm of a slow candidate is its slow requests.
  const harmed = state.drill === 'slow' ? slow95 : errors + invalid
  const { harmBudget } = state.policy.limits
  if (harmed <= harmBudget) return judgement
  const message = `${harmed} failed requests without a verdict, the failure budget of the drill is ${harmBudget}`
  const reason: Reason = { code: budgetCode, message, values: { harmed, harmBudget } }
  return { ...judgement, verdict: { ...verdict, kind: 'fail', reasons: [reason] }, reason: message }
}

/** Turns the verdict of a look into one against the candidate. */
export const withMonitorAlarm = (judgement: Judgement, alarm: Reason | undefined): Judgement =>
  overruled(judgement, 'fail', alarm)

/** All that a verdict follows from. */
export interface StageLook {
  state: JudgedState
  observation: Observation
  /** Why a kill switch keeps the candidate from traffic. */
  pinned?: string
  /** An alarm of the monitor about a version in probation. */
  alarm?: Reason
  /** The replicas that lag, each with its reason. */
  behind: readonly string[]
}

/** Adds to the judgement of the counts what overrules it. */
export function withFacts(
  judged: Judgement,
  { state, observation, pinned, alarm, behind }: StageLook,
): Judgement {
  const seen = withKillSwitch(withDrillBudget(state, withUnread(judged, observation)), pinned)
  return withReplicaCheck(withMonitorAlarm(seen, alarm), behind)
}

export const judgeLook = (look: StageLook): Judgement => withFacts(judge(look.state, look.observation), look)

// Stores a look with the verdict that ended it.

/** The counts of one version and arm in one routing generation: a column for each number, with a cell for each tick. */
interface CountColumns {
  version: string
  arm?: string
  generation: number
  tickMs: number[]
  lengthMs: number[]
  requests: number[]
  errors: number[]
  invalid: number[]
  slow95: number[]
  slow99: number[]
  keys: (number | null)[]
  answers: (readonly number[] | null)[]
}

/** A look as it is stored. The policy is that of the release. */
export interface LookRecord extends Omit<StageLook, 'state' | 'observation'> {
  state: Omit<JudgedState, 'policy'>
  observation: Omit<Observation, 'counted'>
  counted: CountColumns[]
}

const numbers = ['tickMs', 'lengthMs', 'requests', 'errors', 'invalid', 'slow95', 'slow99'] as const

export function lookRecord({ state, observation, ...facts }: StageLook): LookRecord {
  const { counted, ...observed } = observation
  const groups = new Map<string, CountColumns>()
  for (const row of counted) {
    const { version, arm, generation } = row
    const key = JSON.stringify([version, arm, generation])
    let columns = groups.get(key)
    if (columns === undefined) {
      const none = { tickMs: [], lengthMs: [], requests: [], errors: [], invalid: [], slow95: [], slow99: [] }
      groups.set(key, (columns = { version, arm, generation, ...none, keys: [], answers: [] }))
    }
    for (const name of numbers) columns[name].push(row[name])
    columns.keys.push(row.keys ?? null)
    columns.answers.push(row.answers ?? null)
  }
  const { version, baseline, drill, strategy, labelsMs, stage, stageIndex, undecidedStage, shareBp } = state
  const { routings, promoted, accepted, breakGlass } = state
  return {
    state: {
      version,
      baseline,
      drill,
      strategy,
      labelsMs,
      stage,
      stageIndex,
      undecidedStage,
      shareBp,
      routings,
      promoted,
      accepted,
      // Who has ordered it, and why, is no matter of the judge.
      breakGlass: breakGlass && {},
    },
    observation: observed,
    counted: [...groups.values()],
    ...facts,
  }
}

export function lookOf(
  { state, observation, counted, ...facts }: LookRecord,
  policy: JudgedState['policy'],
): StageLook {
  const rows = counted.flatMap(({ version, arm, generation, keys, answers, ...columns }) =>
    columns.tickMs.map((_, at): CountedTick => {
      const row = { version, arm, generation } as CountedTick
      for (const name of numbers) row[name] = columns[name][at]!
      return { ...row, keys: keys[at] ?? undefined, answers: answers[at] ?? undefined }
    }),
  )
  return { state: { ...state, policy }, observation: { ...observation, counted: rows }, ...facts }
}
