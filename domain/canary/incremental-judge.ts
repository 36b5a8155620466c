/**
 * The running state behind the canary judge, one tick at a time. The judge of a real release folds all its ticks
 * through this; a simulation keeps it and asks after each tick. So both decide by the same numbers, and a worker
 * that dies between two ticks comes to the same statistic again.
 */

import { thresholdFor } from '../sequential/alpha-split.ts'
import type { CanaryEvidence, CanaryStage, CanaryTick } from './evidence.ts'
import { compareArms, percentText, promotionProof, rate, fourDigitNumber } from './arm-comparison.ts'
import {
  badAnswers,
  createCanaryCounts,
  unreadableStage,
  unreadableTick,
  type CanaryCounts,
  type StageCounts,
} from './counts.ts'
import { checkCanaryPolicy, rateMetrics, type CanaryPolicy } from './policy.ts'
import { guardTest } from '../sequential/one-arm-rate-test.ts'
import { nonInferiorityEvidence } from '../sequential/non-inferiority-test.ts'
import { pairedEvidence } from '../sequential/paired-test.ts'
import { geometric } from '../sequential/e-process.ts'
import { rateTest } from '../sequential/two-arm-rate-test.ts'
import { nextShareBp } from './harm-budget.ts'
import { srmEvidence } from '../sequential/sample-ratio-mismatch.ts'
import type { Reason, Verdict, VerdictKind } from '../verdict.ts'

export const canaryJudge = 'canary@1'

export interface IncrementalJudge {
  add(tick: CanaryTick): void
  judge(evidence: Omit<CanaryEvidence, 'ticks'>): Verdict
}

/** Small but lasting damage is what the harm budget is for, so its bets begin lower than K1's. */
const harmGrid = geometric(1.05, 4, 16)

export function incrementalJudge(policy: CanaryPolicy): IncrementalJudge {
  const problems = checkCanaryPolicy(policy).map((issue) => `the policy cannot be used: ${issue}`)
  const ledger = createCanaryCounts()
  const comparisons = problems.length > 0 ? [] : rateMetrics.map((metric) => compareArms(metric, policy))
  const promotion = policy.promotion
  const proofs =
    problems.length > 0 || promotion === 'off'
      ? []
      : promotion.metrics.map((metric) => promotionProof(metric, promotion))
  const guard = guardTest(policy.guardRate)
  const harm = rateTest({ grid: harmGrid })
  const found = new Map<string, Reason>()
  let nextRestartMs = -Infinity

  const checkGuard = (tick: CanaryTick, logE: number) => {
    const threshold = thresholdFor(policy.alpha.guard)
    if (logE < threshold || found.has('guard')) return
    const { canaryBad: bad, canaryRequests: requests } = ledger.exposure()
    found.set('guard', {
      code: 'guard',
      message:
        `${bad} of ${requests} canary answers were bad, at most ${percentText(policy.guardRate)} are accepted: ` +
        `logE ${fourDigitNumber(logE)} ≥ ${fourDigitNumber(threshold)}`,
      values: { bad, requests, limit: policy.guardRate, logE, threshold, atMs: tick.startMs },
    })
  }

  // The budget alone would be spent by chance on a long release; it acts on damage that is proven as well.
  const checkHarm = (tick: CanaryTick, logE: number) => {
    const threshold = thresholdFor(policy.alpha.reserve)
    if (logE < threshold || found.has('harm_budget')) return
    const excess = ledger.excess()
    if (excess < policy.harmBudget) return
    found.set('harm_budget', {
      code: 'harm_budget',
      message:
        `${fourDigitNumber(excess)} bad answers above the champion's rate, the budget is ${policy.harmBudget}: ` +
        `logE ${fourDigitNumber(logE)} ≥ ${fourDigitNumber(threshold)}`,
      values: { excess, budget: policy.harmBudget, logE, threshold, atMs: tick.startMs },
    })
  }

  return {
    add(tick) {
      if (problems.length > 0) return
      const last = ledger.lastStartMs()
      const problem = unreadableTick(tick, last)
      if (problem !== undefined) {
        problems.push(problem)
        return
      }
      if (last === undefined) nextRestartMs = tick.startMs + policy.restartMs
      const restarts = tick.startMs >= nextRestartMs
      if (restarts) {
        const missed = Math.floor((tick.startMs - nextRestartMs) / policy.restartMs)
        nextRestartMs += policy.restartMs * (missed + 1)
      }
      ledger.add(tick)
      for (const each of comparisons) {
        if (restarts) each.restart(tick.startMs)
        each.add(tick)
      }
      for (const each of proofs) each.add(tick)
      // The guard begins afresh at each tick: a canary that breaks after a good day is stopped as fast as a new one.
      if (last !== undefined) guard.restart()
      guard.add(tick.canary.requests, badAnswers(tick.canary))
      checkGuard(tick, guard.logE())
      harm.add({
        canaryTotal: tick.canary.requests,
        controlTotal: tick.control.requests,
        canaryEvents: badAnswers(tick.canary),
        controlEvents: badAnswers(tick.control),
      })
      checkHarm(tick, harm.plainLogE())
    },

    judge({ stage, staleMs, paired }) {
      const errors = [...problems, ...unreadableStage({ stage, staleMs, ...(paired && { paired }) })]
      if (errors.length > 0) {
        const reasons = errors.map((message) => ({ code: 'unreadable', message, values: {} }))
        return { kind: 'error', reasons, statistics: {}, judge: canaryJudge }
      }
      const inStage = ledger.since(stage.startedMs)
      const { canaryRequests, controlRequests } = ledger.exposure()
      const statistics: Verdict['statistics'] = {
        canaryRequests,
        controlRequests,
        stageCanaryRequests: inStage.canary,
        stageControlRequests: inStage.control,
        stageElapsedMs: stage.elapsedMs,
        realisedShare: rate(inStage.canary, inStage.canary + inStage.control),
        staleMs,
        excessBad: ledger.excess(),
        guardLogE: guard.logE(),
        harmLogE: harm.plainLogE(),
      }
      for (const each of comparisons) each.describe(statistics)
      for (const each of proofs) statistics[`${each.metric}PromotionLogE`] = each.logE()
      const answer = (kind: VerdictKind, reasons: Reason[]): Verdict => ({
        kind,
        reasons,
        statistics,
        judge: canaryJudge,
      })

      const against = [...found.values()]
      for (const each of comparisons) {
        const reason = each.finding()
        if (reason !== null) against.push(reason)
      }
      if (paired !== undefined) {
        const logE = pairedEvidence(paired.b, paired.c) ?? 0
        const threshold = thresholdFor(policy.alpha.paired)
        statistics['pairedLogE'] = logE
        if (logE >= threshold) {
          against.push({
            code: 'paired_quality',
            message:
              `the champion alone was right ${paired.b} times, the canary alone ${paired.c} times: ` +
              `logE ${fourDigitNumber(logE)} ≥ ${fourDigitNumber(threshold)}`,
            values: { b: paired.b, c: paired.c, logE, threshold },
          })
        }
      }
      const foundAt = ({ values }: Reason) => Number(values['atMs'] ?? Infinity)
      if (against.length > 0)
        return answer(
          'fail',
          against.sort((a, b) => foundAt(a) - foundAt(b)),
        )

      const missing = ledger.missing(stage, staleMs, policy.maxStaleMs)
      if (missing !== null) return answer('no_data', [missing])

      const waits: Reason[] = []
      if (policy.srm !== 'off') {
        const share = stage.shareBp / 10_000
        const { sharedCanary: canary, sharedControl: control } = inStage
        const logE = srmEvidence(canary, control, share, policy.srm)
        const threshold = thresholdFor(policy.srm.alpha)
        statistics['srmLogE'] = logE
        if (logE !== null && logE >= threshold) {
          waits.push({
            code: 'srm',
            message:
              `the canary got ${percentText(rate(canary, canary + control))} of the requests, configured are ` +
              `${percentText(share)}: logE ${fourDigitNumber(logE)} ≥ ${fourDigitNumber(threshold)}; the arms cannot be compared`,
            values: { canary, control, share, logE, threshold },
          })
        }
      }
      const ramped = stage.last ? null : affordableShareBp(policy, stage, inStage, ledger)
      if (ramped !== null) statistics['rampShareBp'] = ramped
      const mayHurry = ramped !== null && stage.nextShareBp !== undefined && ramped >= stage.nextShareBp
      if (stage.elapsedMs < stage.minMs && !mayHurry) {
        waits.push({
          code: 'minimum_time',
          message: `${fourDigitNumber(stage.elapsedMs / 1000)} s of at least ${fourDigitNumber(stage.minMs / 1000)} s have passed`,
          values: { elapsedMs: stage.elapsedMs, minMs: stage.minMs },
        })
      }
      if (inStage.canary < stage.minRequests) {
        waits.push({
          code: 'minimum_requests',
          message: `the canary answered ${inStage.canary} of at least ${stage.minRequests} requests in this stage`,
          values: { requests: inStage.canary, minRequests: stage.minRequests },
        })
      }
      if (promotion !== 'off' && (stage.last || promotion.at === 'every_stage')) {
        for (const each of proofs) {
          const logE = each.logE()
          if (logE >= promotion.logE) continue
          waits.push({
            code: 'promotion_evidence',
            message:
              `not proven yet that ${each.metric} stay below ${promotion.ratio} times the champion's: ` +
              `logE ${fourDigitNumber(logE)} < ${fourDigitNumber(promotion.logE)}`,
            values: { metric: each.metric, logE, threshold: promotion.logE, ratio: promotion.ratio },
          })
        }
      }
      if (policy.nonInferiority && stage.last) {
        const { margin, logE: threshold } = policy.nonInferiority
        const { b = 0, c = 0, same } = paired ?? {}
        const logE = same === undefined ? 0 : (nonInferiorityEvidence({ lost: b, same, won: c }, margin) ?? 0)
        statistics['nonInferiorityLogE'] = logE
        if (logE < threshold) {
          waits.push({
            code: 'quality_evidence',
            message:
              `not proven yet on ${b + c + (same ?? 0)} paired answers that accuracy falls by less than ` +
              `${percentText(margin)}: logE ${fourDigitNumber(logE)} < ${fourDigitNumber(threshold)}`,
            values: { b, c, same: same ?? null, margin, logE, threshold },
          })
        }
      }
      if (waits.length > 0) return answer('inconclusive', waits)
      return answer('pass', [
        {
          code: 'stage_passed',
          message: `${inStage.canary} canary requests in ${fourDigitNumber(stage.elapsedMs / 1000)} s, nothing against the canary`,
          values: { requests: inStage.canary, elapsedMs: stage.elapsedMs },
        },
      ])
    },
  }
}

/** The highest share that what is left of the harm budget can bear; null without a ramp or anything to go by. */
function affordableShareBp(
  { ramp, harmBudget }: CanaryPolicy,
  stage: CanaryStage,
  inStage: StageCounts,
  ledger: CanaryCounts,
): number | null {
  if (ramp === undefined || stage.elapsedMs <= 0) return null
  return nextShareBp({
    currentBp: stage.shareBp,
    capBp: 5_000,
    budgetLeft: Math.max(0, harmBudget - ledger.excess()),
    requestsPerSecond: ((inStage.canary + inStage.control) * 1_000) / stage.elapsedMs,
    reactionSeconds: ramp.reactionSeconds,
    seen: ledger.exposure(),
  })
}
