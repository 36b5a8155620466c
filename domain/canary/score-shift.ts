/**
 * Compares the answers of canary and control without outcomes: the share of each answer, by the two-arm rate test in both directions. A model whose output
 * is off by a factor of ten fails no request, so failure counts cannot detect it. A better model may answer otherwise too: by default a shift is a question,
 * and in a shadow, where no caller gets the answers, it is only reported.
 *
 * A routing key counts once per stage, because the requests of one user are not independent. At the next share it counts again: stage j
 * is a separate comparison with the weight 1/(j(j+1)), which stays valid when users always get the same answer.
 */
import { fourDigits, groupedDigits, percentText, ratioOf } from '../figures.ts'
import { geometric, logMeanExp, sumOf, thresholdFor } from '@tenure/sequential'
import type { CanaryTick } from './evidence.ts'
import type { PredictedAnswers } from './predicted-answers.ts'
import { scoreShiftCode, type Reason, type Verdict } from '../verdict.ts'

export interface ScoreShiftPolicy {
  /** How far the share of an answer may move, relative to the control's. */
  tolerance: number
  /** A smaller difference of the shares (0..1) never counts. */
  minDelta: number
  /** What a shift beyond the tolerance does: holds the stage until an approver decides, or rolls back. */
  action: 'ask' | 'rollback'
  /** A share this many times the control's, or its reciprocal, rolls back, but not in a shadow, and not what an approver has accepted. `null`: never. */
  rollbackRatio: number | null
}

export const defaultScoreShift: ScoreShiftPolicy = {
  tolerance: 0.1,
  minDelta: 0.01,
  action: 'ask',
  rollbackRatio: null,
}

/**
 * The bets: ratios above the level, spaced by their distance from it. The grid for failures begins at 1.25, too high for small shifts:
 * with a tolerance of a tenth, an answer that is a fifth more frequent is at 1.09 times the level, where every one of those bets loses.
 */
const shiftGrid = geometric(0.03, 39, 16).map((excess) => 1 + excess)
const fallGrid = shiftGrid.map((ratio) => 1 / ratio)

export interface ScoreShift {
  add(tick: CanaryTick): void
  /** The shift that rolls the canary back, from the first tick that proved it. */
  finding(names: readonly string[] | undefined): Reason | null
  /** The shift that an approver must decide on. */
  question(names: readonly string[] | undefined): Reason | null
  /** The shift of a shadow, which nothing follows from. */
  report(names: readonly string[] | undefined): Reason | null
  describe(statistics: Verdict['statistics']): void
}

/** A proven shift. The names of its answers are known only when a verdict is made. */
interface Shift {
  answer: number
  values: Reason['values']
}

interface Counted {
  /** In how many bins one answer is counted. Default: 1. */
  perKey?: number
  predicted?: PredictedAnswers
}

export function scoreShift(
  policy: ScoreShiftPolicy,
  alpha: number,
  { perKey = 1, predicted: _predicted }: Counted = {},
): ScoreShift {
  const { tolerance, minDelta, action, rollbackRatio } = policy
  // Half of the α for each level.
  const threshold = thresholdFor(alpha / 2)
  const levels = [
    { ratio: 1 + tolerance, acts: action },
    ...(rollbackRatio === null ? [] : [{ ratio: rollbackRatio, acts: 'rollback' as const }]),
  ]
  const found: { ask?: Shift; rollback?: Shift; report?: Shift } = {}
  let stage: ReturnType<typeof compareStage> | undefined
  let stages = 0
  let current: number | null | undefined

  return {
    add(tick) {
      const { canary, control, shareBp, startMs, shadow = false } = tick
      if (canary.answers === undefined || control.answers === undefined) return
      const bins = canary.answers.length
      if (bins === 0 || control.answers.length !== bins) return
      // Copies have no share; a tick in which the share changed belongs to no stage.
      if (shareBp === null && typeof current === 'number') return
      if (stage === undefined || shareBp !== current || stage.bins !== bins) {
        current = shareBp
        stages++
        stage = compareStage(bins, levels, perKey)
      }
      stage.add(canary.answers, control.answers)
      const needed = threshold + Math.log(stages * (stages + 1))
      for (const [place, { acts: action, ratio }] of levels.entries()) {
        const acts = shadow ? 'report' : action
        if (found[acts] !== undefined || stage.atMost(place) < needed) continue
        const { logE, answer } = stage.evidence(place, minDelta)
        if (answer === undefined || logE < needed) continue
        const values = { ...stage.figures(answer), logE, threshold: needed, ratio, minDelta, atMs: startMs }
        found[acts] = { answer, values }
      }
    },
    finding: (names) => reasonOf(found.rollback, names),
    question: (names) => reasonOf(found.ask, names),
    report: (names) => reasonOf(found.report, names, 'users in the shadow'),
    describe(statistics) {
      if (stage === undefined) return
      const { logE, answer } = stage.evidence(0, 0)
      statistics['scoreShiftLogE'] = logE
      statistics['scoreShiftThreshold'] = threshold + Math.log(stages * (stages + 1))
      if (answer === undefined) return
      const { canaryShare, controlShare } = stage.figures(answer)
      statistics['scoreShiftCanary'] = canaryShare
      statistics['scoreShiftControl'] = controlShare
    },
  }
}

function reasonOf(
  shift: Shift | undefined,
  names: readonly string[] | undefined,
  whose = 'canary users',
): Reason | null {
  if (shift === undefined) return null
  const { answer, values } = shift
  const name = names?.[answer] ?? `${answer + 1}`
  const message =
    `the answer "${name}" went to ${percentText(Number(values['canaryShare']))} of ${groupedDigits(Number(values['canaryKeys']))} ${whose}, ` +
    `control ${percentText(Number(values['controlShare']))} of ${groupedDigits(Number(values['controlKeys']))}: ` +
    `logE ${fourDigits(Number(values['logE']))} ≥ ${fourDigits(Number(values['threshold']))}`
  return { code: scoreShiftCode, message, values: { ...values, answer: name } }
}

/** The two-arm rate test against one ratio for every answer of a stage. The bets of all answers use the realised share of a tick. */
function rateTests(ratio: number, grid: readonly number[], bins: number) {
  const bets = grid.length
  const logGrid = grid.map(Math.log)
  const capital = new Float64Array(bins * bets)
  return {
    add(canary: readonly number[], control: readonly number[], w: number) {
      const base = ratio * w + 1 - w
      for (let k = 0; k < bets; k++) {
        const spread = Math.log((grid[k]! * ratio * w + 1 - w) / base)
        for (let i = 0; i < bins; i++)
          capital[i * bets + k]! += canary[i]! * (logGrid[k]! - spread) - control[i]! * spread
      }
    },
    /** The log capital of each bet of an answer. */
    of: (answer: number): Float64Array => capital.subarray(answer * bets, (answer + 1) * bets),
    largest: (): number => capital.reduce((max, value) => Math.max(max, value), -Infinity),
  }
}

/** The answers of one stage: for each level, the two-arm rate test on each answer in both directions. The mean of their e-values is an e-value. */
function compareStage(bins: number, levels: readonly { ratio: number }[], perKey: number) {
  const tests = levels.map(({ ratio }) => [
    rateTests(ratio, shiftGrid, bins),
    rateTests(1 / ratio, fallGrid, bins),
  ])
  const canarySum = Array.from({ length: bins }, () => 0)
  const controlSum = Array.from({ length: bins }, () => 0)
  // Stratified by tick (Mantel-Haenszel), because shares and answers move during a stage.
  const difference = Array.from({ length: bins }, () => 0)
  let weight = 0
  return {
    bins,
    add(canary: readonly number[], control: readonly number[]) {
      const [canaryTotal, controlTotal] = [sumOf(canary) / perKey, sumOf(control) / perKey]
      const total = canaryTotal + controlTotal
      for (let i = 0; i < bins; i++) {
        canarySum[i]! += canary[i]!
        controlSum[i]! += control[i]!
        if (canaryTotal > 0 && controlTotal > 0)
          difference[i]! += (canary[i]! * controlTotal - control[i]! * canaryTotal) / total
      }
      if (canaryTotal === 0 || controlTotal === 0) return
      weight += (canaryTotal * controlTotal) / total
      for (const level of tests) for (const test of level) test.add(canary, control, canaryTotal / total)
    },
    /** An upper bound on the evidence of the level. */
    atMost: (level: number): number => Math.max(...tests[level]!.map((test) => test.largest())),
    /** The evidence of a level, and the answer that moved most; undefined when none moved by `minDelta`. */
    evidence(level: number, minDelta: number): { logE: number; answer: number | undefined } {
      const logs: number[] = []
      let answer: number | undefined
      let largest = -Infinity
      for (const test of tests[level]!)
        for (let i = 0; i < bins; i++) {
          const logE = logMeanExp(test.of(i))
          logs.push(logE)
          const delta = weight > 0 ? Math.abs(difference[i]!) / weight : 0
          if (logE > largest && delta >= minDelta) [largest, answer] = [logE, i]
        }
      return { logE: logMeanExp(logs), answer }
    },
    figures(answer: number) {
      const [canaryKeys, controlKeys] = [sumOf(canarySum) / perKey, sumOf(controlSum) / perKey]
      return {
        canaryKeys,
        controlKeys,
        canaryShare: ratioOf(canarySum[answer]!, canaryKeys),
        controlShare: ratioOf(controlSum[answer]!, controlKeys),
      }
    },
  }
}
