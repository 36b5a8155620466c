/**
 * Evaluates a canary tick by tick. A release folds all its ticks through this code and a simulation queries it after each tick, so both
 * use the same statistics. A worker that crashes between two ticks recomputes the same result.
 */
import {
  geometric,
  oneArmRateTest,
  type OneArmRateTest,
  srmEvidence,
  thresholdFor,
  twoArmRateTest,
} from '@tenure/sequential'
import { guardAlpha } from './alpha-split.ts'
import { fourDigits, groupedDigits, percentText, ratioOf } from '../figures.ts'
import { armNoun, type CanaryEvidence, type CanaryStage, type CanaryTick } from './evidence.ts'
import {
  compareArms,
  inOrderFound,
  promotionProof,
  rateMessage,
  wordedFor,
  type PromotionProof,
} from './arm-comparison.ts'
import {
  failedRequests,
  servedIn,
  createCanaryCounts,
  unreadableStage,
  unreadableTick,
  type CanaryCounts,
  type StageCounts,
} from './counts.ts'
import { checkCanaryPolicy, rateMetrics, type CanaryPolicy } from './policy.ts'
import { breakerReason } from '../serving/circuit-breaker.ts'
import { harmReason, nextShareBp } from './harm-budget.ts'
import { effectsOf } from './effects.ts'
import { judgeDisagreement } from './disagreement.ts'
import { lossDelta, lossesOfDecisions, lossNote, meanLoss, notWorseLogE, worseLogE } from './holdback.ts'
import type { PredictedAnswers } from './predicted-answers.ts'
import { scoreShift, type ScoreShift } from './score-shift.ts'
import { servedSkewReason, servedText } from '../monitoring/training-serving-skew.ts'
import {
  isAnswered,
  questionOf,
  scoreShiftCode,
  type Reason,
  type Verdict,
  type VerdictKind,
} from '../verdict.ts'

export const canaryJudge = 'canary@5'

export interface IncrementalJudge {
  /** Adds the next tick. An invalid tick makes every later verdict an error. */
  add(tick: CanaryTick): void
  /** The verdict on all ticks so far. */
  judge(evidence: StageEvidence): Verdict
}

type StageEvidence = Omit<CanaryEvidence, 'ticks'>
type Statistics = Verdict['statistics']

/** The harm budget must stop small but lasting damage, so its bets begin lower than those of the two-arm rate test. */
const harmGrid = geometric(1.05, 4, 16)

export function incrementalJudge(
  policy: CanaryPolicy,
  answersPerKey = 1,
  predicted?: PredictedAnswers,
): IncrementalJudge {
  const problems = checkCanaryPolicy(policy).map((issue) => `invalid policy: ${issue}`)
  const counts = createCanaryCounts()
  const comparisons = problems.length > 0 ? [] : rateMetrics.map((metric) => compareArms(metric, policy))
  const { promotion } = policy
  const proofs =
    problems.length > 0 || promotion === 'off'
      ? []
      : promotion.metrics.map((metric) => promotionProof(metric, promotion))
  const shift =
    problems.length > 0 || policy.scoreShift === 'off'
      ? undefined
      : scoreShift(policy.scoreShift, policy.alpha.scoreShift, { perKey: answersPerKey, predicted })
  // The rate of an invalid policy may be none; its verdict is an error without a test.
  const guard = oneArmRateTest(problems.length > 0 ? 0.5 : policy.guardRate)
  const harm = twoArmRateTest({ grid: harmGrid })
  const found = new Map<string, Reason>()
  let nextRestartMs = -Infinity

  const keepFirst = (reason: Reason | null): void => {
    if (reason !== null && !found.has(reason.code)) found.set(reason.code, reason)
  }
  const isRestart = ({ startMs }: CanaryTick, lastStartMs: number | undefined): boolean => {
    if (lastStartMs === undefined) nextRestartMs = startMs + policy.restartMs
    if (startMs < nextRestartMs) return false
    const missed = Math.floor((startMs - nextRestartMs) / policy.restartMs)
    nextRestartMs += policy.restartMs * (missed + 1)
    return true
  }

  return {
    add(tick) {
      if (problems.length > 0) return
      const last = counts.last()
      const problem = unreadableTick(tick, last, answersPerKey)
      if (problem !== undefined) {
        problems.push(problem)
        return
      }
      const restarts = isRestart(tick, last?.startMs)
      counts.add(tick)
      for (const each of comparisons) {
        if (restarts) each.restart(tick.startMs)
        each.add(tick)
      }
      for (const each of proofs) each.add(tick)
      shift?.add(tick)
      // The guard restarts at each tick, so that a canary that breaks after a good day is stopped as fast as a new one.
      if (last !== undefined) guard.restart()
      const served = servedIn(tick)
      guard.add(served.requests, served.bad)
      keepFirst(guardReason(policy, counts, guard.logE(), tick.startMs))
      if (tick.shadow === true) return
      harm.add({
        treatmentTotal: served.requests,
        controlTotal: tick.control.requests,
        treatmentEvents: served.bad,
        controlEvents: failedRequests(tick.control),
      })
      keepFirst(harmReason(policy, { excess: counts.excess(), logE: harm.plainLogE(), atMs: tick.startMs }))
    },

    judge(evidence) {
      const errors = [...problems, ...unreadableStage(evidence)]
      if (errors.length === 0)
        return judgeStage(evidence, policy, counts, { found, comparisons, proofs, shift, guard, harm })
      const reasons = errors.map((message) => ({ code: 'unreadable', message, values: {} }))
      return { kind: 'error', reasons, statistics: {}, judge: canaryJudge }
    },
  }
}

/** The tests with the evidence of all ticks so far. */
interface Tests {
  /** The reasons of the guard and of the harm budget, each from the first tick that proved it. */
  found: ReadonlyMap<string, Reason>
  comparisons: readonly ReturnType<typeof compareArms>[]
  proofs: readonly PromotionProof[]
  shift: ScoreShift | undefined
  guard: Pick<OneArmRateTest, 'logE'>
  harm: Pick<ReturnType<typeof twoArmRateTest>, 'plainLogE'>
}

function judgeStage(
  evidence: StageEvidence,
  policy: CanaryPolicy,
  counts: CanaryCounts,
  { found, comparisons, proofs, shift, guard, harm }: Tests,
): Verdict {
  const { stage, staleMs, paired, served, accepted = [], breakGlass = false, answerNames } = evidence
  const pairedLosses = evidence.pairedLosses ?? (paired && lossesOfDecisions(paired))
  const inStage = counts.since(stage.startedMs)
  const statistics = statisticsOf(evidence, counts, inStage)
  const judged: Judged = { policy, stage, inStage, counts, pairedLosses, served, statistics }
  const differing = judgeDisagreement(evidence, policy, statistics)
  const effects = effectsOf(evidence, policy, statistics)
  const dropped = breakerReason(evidence.breakers)
  shift?.describe(statistics)
  statistics['guardLogE'] = guard.logE()
  statistics['harmLogE'] = harm.plainLogE()
  for (const each of comparisons) each.describe(statistics)
  for (const each of proofs) statistics[`${each.metric}PromotionLogE`] = each.logE()
  const verdict = (kind: VerdictKind, reasons: Reason[]): Verdict => ({
    kind,
    reasons,
    statistics,
    judge: canaryJudge,
  })

  // An approver who has accepted a shift has accepted it at each of its levels. A break-glass order accepts no finding.
  const isShiftAccepted = accepted.includes(scoreShiftCode) && !breakGlass
  // The cause of the others, if there are any.
  const skew = served === undefined ? null : servedSkewReason(served)
  const against = [
    ...found.values(),
    ...comparisons.map((each) => each.finding()),
    dropped?.isCertain ? dropped.reason : null,
    pairedReason(judged),
    isShiftAccepted ? null : (shift?.finding(answerNames) ?? null),
    policy.disagreement !== 'off' && policy.disagreement.action === 'rollback' ? differing : null,
    ...effects.against,
  ].filter((reason) => reason !== null)
  const proven = inOrderFound(against.map(wordedFor(armNoun(stage))))
  if (skew !== null || proven.length > 0) return verdict('fail', skew === null ? proven : [skew, ...proven])
  const missing = counts.missing(stage, staleMs, policy.maxStaleMs)
  if (missing !== null) return verdict('no_data', [missing])
  const pending = [
    dropped?.reason ?? null,
    shareReason(judged),
    timeReason(judged),
    requestsReason(judged),
    ...promotionReasons(judged, proofs),
    qualityReason(judged),
    ...effects.pending,
  ].filter((reason) => reason !== null)
  const questions = [shift?.question(answerNames) ?? null, differing, ...effects.questions]
    .filter((reason) => reason !== null)
    .filter((reason) => !isAnswered(reason, accepted))
  if (questions.length > 0)
    return {
      ...verdict('inconclusive', [...questions, ...pending]),
      questions: [...new Set(questions.map(questionOf))],
    }
  const reported = shift?.report(answerNames, stage.shadow === true) ?? null
  const told = reported === null ? [] : [reported]
  if (pending.length > 0) return verdict('inconclusive', [...pending, ...told])
  return verdict('pass', [passReason(judged), ...told])
}

/** The evidence of one verdict. Each reason adds its figures to the statistics. */
interface Judged extends Pick<CanaryEvidence, 'stage' | 'pairedLosses' | 'served'> {
  policy: CanaryPolicy
  inStage: StageCounts
  counts: CanaryCounts
  statistics: Statistics
}

function statisticsOf(
  { stage, staleMs }: StageEvidence,
  counts: CanaryCounts,
  inStage: StageCounts,
): Statistics {
  const { canaryRequests, controlRequests } = counts.exposure()
  return {
    canaryRequests,
    controlRequests,
    stageCanaryRequests: inStage.canary,
    ...(inStage.targeted > 0 && { stageTargetedRequests: inStage.targeted }),
    stageControlRequests: inStage.control,
    stageElapsedMs: stage.elapsedMs,
    realisedShare: ratioOf(inStage.canary, inStage.canary + inStage.control),
    staleMs,
    excessBad: counts.excess(),
  }
}

const compared = (logE: number, sign: '≥' | '<', threshold: number): string =>
  `logE ${fourDigits(logE)} ${sign} ${fourDigits(threshold)}`

/** Absolute guard: the failure rate of the canary is above the absolute limit. */
function guardReason(policy: CanaryPolicy, counts: CanaryCounts, logE: number, atMs: number): Reason | null {
  const threshold = thresholdFor(guardAlpha(policy.alpha))
  if (logE < threshold) return null
  const { canaryBad: bad, canaryRequests: requests } = counts.served()
  const whose = counts.exposure().canaryRequests === requests ? 'canary' : 'candidate'
  const message = rateMessage({
    events: bad,
    requests,
    what: `${whose} requests failed`,
    beside: `limit ${percentText(policy.guardRate)}`,
    logE,
    threshold,
  })
  return { code: 'guard', message, values: { bad, requests, limit: policy.guardRate, logE, threshold, atMs } }
}

/** Paired quality: the canary loses more on the same requests. */
function pairedReason({ policy, pairedLosses, statistics }: Judged): Reason | null {
  if (pairedLosses === undefined) return null
  const threshold = thresholdFor(policy.alpha.paired)
  const logE = worseLogE(pairedLosses)
  const delta = lossDelta(pairedLosses)
  statistics['pairedLogE'] = logE
  if (logE < threshold || delta < policy.minDelta) return null
  const { candidate, control } = pairedLosses
  const message =
    `the mean loss ${lossNote(pairedLosses)}of ${groupedDigits(candidate.total)} pairs is ${fourDigits(meanLoss(candidate) ?? 0)}, of the ` +
    `champion ${fourDigits(meanLoss(control) ?? 0)}: ${compared(logE, '≥', threshold)}`
  return { code: 'paired_quality', message, values: { delta, pairs: candidate.total, logE, threshold } }
}

/** Sample ratio mismatch: the arms cannot be compared. */
function shareReason({ policy: { srm }, stage, inStage, statistics }: Judged): Reason | null {
  if (srm === 'off' || stage.targeted === true) return null
  const { sharedCanary: canary, sharedControl: control } = inStage
  const share = stage.shareBp / 10_000
  const logE = srmEvidence(canary, control, share, srm)
  const threshold = thresholdFor(srm.alpha)
  statistics['srmLogE'] = logE
  if (logE === null || logE < threshold) return null
  const message =
    `the canary received ${percentText(ratioOf(canary, canary + control))} of the traffic instead of ` +
    `${percentText(share)}: ${compared(logE, '≥', threshold)}; the arms cannot be compared`
  return { code: 'srm', message, values: { canary, control, share, logE, threshold } }
}

function timeReason(judged: Judged): Reason | null {
  const { stage, statistics } = judged
  const { elapsedMs, minMs } = stage
  const rampedBp = stage.last || stage.targeted === true ? null : affordableShareBp(judged)
  if (rampedBp !== null) statistics['rampShareBp'] = rampedBp
  const isRamped = rampedBp !== null && stage.nextShareBp !== undefined && rampedBp >= stage.nextShareBp
  if (elapsedMs >= minMs || isRamped) return null
  const message = `${fourDigits(elapsedMs / 1000)} s of at least ${fourDigits(minMs / 1000)} s observed`
  return { code: 'minimum_time', message, values: { elapsedMs, minMs } }
}

/** The requests that the stage counts towards its minimum. */
const requestsOf = ({ stage, inStage }: Judged): number =>
  stage.targeted === true ? inStage.targeted : inStage.canary

const requestsNoun = (stage: CanaryStage): string =>
  stage.targeted === true ? 'requests of targeted callers' : armNoun(stage)

function requestsReason(judged: Judged): Reason | null {
  const { minRequests } = judged.stage
  const requests = requestsOf(judged)
  if (requests >= minRequests) return null
  const message = `${groupedDigits(requests)} of at least ${groupedDigits(minRequests)} ${requestsNoun(judged.stage)} in this stage`
  return { code: 'minimum_requests', message, values: { requests, minRequests } }
}

function promotionReasons({ policy, stage }: Judged, proofs: readonly PromotionProof[]): Reason[] {
  const { promotion } = policy
  if (
    promotion === 'off' ||
    stage.promoted === true ||
    stage.targeted === true ||
    (!stage.last && promotion.at !== 'every_stage')
  )
    return []
  const { ratio, logE: threshold } = promotion
  return proofs.flatMap((each) => {
    const { metric } = each
    const logE = each.logE()
    if (logE >= threshold) return []
    const message = `not yet proven that ${metric} stay below ${ratio} × control: ${compared(logE, '<', threshold)}`
    return [{ code: 'promotion_evidence', message, values: { metric, logE, threshold, ratio } }]
  })
}

/** Non-inferiority: the last stage needs proof that the loss is not higher by more than the margin, when the policy requires it. */
function qualityReason({ policy, stage, pairedLosses, statistics }: Judged): Reason | null {
  const { nonInferiority } = policy
  if (!nonInferiority || !stage.last) return null
  const { margin, logE: threshold } = nonInferiority
  const logE = pairedLosses === undefined ? 0 : notWorseLogE(pairedLosses, margin)
  statistics['nonInferiorityLogE'] = logE
  if (stage.promoted === true || logE >= threshold) return null
  const pairs = pairedLosses?.candidate.total ?? 0
  const message =
    `not yet proven on ${groupedDigits(pairs)} pairs that the loss ${lossNote(pairedLosses ?? {})}rises by less than ${fourDigits(margin)}: ` +
    compared(logE, '<', threshold)
  return { code: 'quality_evidence', message, values: { pairs, margin, logE, threshold } }
}

function passReason(judged: Judged): Reason {
  const { elapsedMs, targeted } = judged.stage
  const requests = requestsOf(judged)
  const found = targeted === true ? 'no harm found' : 'no regression'
  const served = judged.served === undefined ? '' : `; ${servedText(judged.served)}`
  const message = `${groupedDigits(requests)} ${requestsNoun(judged.stage)} in ${fourDigits(elapsedMs / 1000)} s, ${found}${served}`
  return { code: 'stage_passed', message, values: { requests, elapsedMs } }
}

/** The highest share that the rest of the harm budget allows; null without a ramp or without elapsed time. */
function affordableShareBp({ policy, stage, inStage, counts }: Judged): number | null {
  const { ramp, harmBudget } = policy
  if (ramp === undefined || stage.elapsedMs <= 0) return null
  return nextShareBp({
    currentBp: stage.shareBp,
    capBp: 5_000,
    budgetLeft: Math.max(0, harmBudget - counts.excess()),
    requestsPerSecond: ((inStage.canary + inStage.control) * 1_000) / stage.elapsedMs,
    reactionSeconds: ramp.reactionSeconds,
    seen: counts.exposure(),
  })
}

// Judges a canary on all ticks since it began. The evidence may be evaluated after each tick: the probability of rolling back a candidate
// that is no worse than its champion is at most Σα, over all metrics, stages and looks together.

/** The verdict on the evidence; `error` when the evidence or the policy is invalid. */
export function judgeCanary(evidence: CanaryEvidence, policy: CanaryPolicy): Verdict {
  const judge = incrementalJudge(policy, evidence.answersPerKey, evidence.predicted)
  for (const tick of evidence.ticks) judge.add(tick)
  return judge.judge(evidence)
}
