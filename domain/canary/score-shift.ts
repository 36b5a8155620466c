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
import {
  answerShares,
  effectiveRowsAt,
  expectedShifts,
  minPredictingRows,
  sharesAtMix,
  type PredictedAnswers,
} from './predicted-answers.ts'
import { scoreShiftCode, type Reason, type Verdict } from '../verdict.ts'

export interface ScoreShiftPolicy {
  /**
   * How far the share of an answer may move, relative to the control's, beyond what the gate has seen on its test rows: 0.5 is half more, or a third
   * less.
   */
  tolerance: number
  /** A smaller difference of the shares (0..1) never counts. */
  minDelta: number
  /** What a shift beyond the tolerance does: holds the stage until an approver decides, or rolls back. */
  action: 'ask' | 'rollback'
  /** A share this many times the control's, or its reciprocal, rolls back, but not in a shadow, and not what an approver has accepted. `null`: never. */
  rollbackRatio: number | null
}

export const defaultScoreShift: ScoreShiftPolicy = {
  tolerance: 0.5,
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
  /** The shift of a shadow, or one for which the gate's test rows say nothing, because the requests are others. Nothing follows from either. */
  report(names: readonly string[] | undefined, inShadow: boolean): Reason | null
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
  { perKey = 1, predicted }: Counted = {},
): ScoreShift {
  const { tolerance, minDelta, action, rollbackRatio } = policy
  // Half of the α for each level.
  const threshold = thresholdFor(alpha / 2)
  const levels = [
    { ratio: 1 + tolerance, acts: action },
    ...(rollbackRatio === null ? [] : [{ ratio: rollbackRatio, acts: 'rollback' as const }]),
  ]
  const found: Partial<Record<'ask' | 'rollback' | 'report' | 'withheld', Shift>> = {}
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
        stage = compareStage(bins, levels, { perKey, predicted })
      }
      stage.add(canary.answers, control.answers)
      const needed = threshold + Math.log(stages * (stages + 1))
      const rows = stage.effectiveRows()
      const isComparable = rows === undefined || rows >= minPredictingRows
      for (const [place, { acts: action, ratio }] of levels.entries()) {
        const acts = shadow ? 'report' : isComparable ? action : 'withheld'
        if (found[acts] !== undefined || stage.atMost(place) < needed) continue
        const { logE, answer } = stage.evidence(place, minDelta)
        if (answer === undefined || logE < needed) continue
        const values = {
          ...stage.figures(answer),
          logE,
          threshold: needed,
          ratio,
          minDelta,
          atMs: startMs,
        }
        found[acts] = { answer, values: rows === undefined ? values : { ...values, effectiveRows: rows } }
      }
    },
    finding: (names) => reasonOf(found.rollback, names),
    question: (names) => reasonOf(found.ask, names),
    report(names, inShadow) {
      if (inShadow) return reasonOf(found.report, names, 'users in the shadow')
      const reason = found.ask ? null : reasonOf(found.withheld, names)
      if (reason === null) return null
      const rows = groupedDigits(Math.floor(Number(reason.values['effectiveRows'])))
      const message = `${reason.message}; not asked: the champion answers otherwise than in the gate, whose test rows show as much as ${rows}`
      return { ...reason, message }
    },
    describe(statistics) {
      if (stage === undefined) return
      const { logE, answer } = stage.evidence(0, -Infinity)
      const rows = stage.effectiveRows()
      if (rows !== undefined) statistics['scoreShiftEffectiveRows'] = rows
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
  const gate =
    values['gateCanaryShare'] === undefined
      ? ''
      : ` (in the gate ${percentText(Number(values['gateCanaryShare']))} and ${percentText(Number(values['gateControlShare']))})`
  const message =
    `the answer "${name}" went to ${percentText(Number(values['canaryShare']))} of ${groupedDigits(Number(values['canaryKeys']))} ${whose}, ` +
    `control ${percentText(Number(values['controlShare']))} of ${groupedDigits(Number(values['controlKeys']))}${gate}: ` +
    `logE ${fourDigits(Number(values['logE']))} ≥ ${fourDigits(Number(values['threshold']))}`
  return { code: scoreShiftCode, message, values: { ...values, answer: name } }
}

/** The two-arm rate test of every answer of a stage, each against its ratio. The bets of all answers use the realised share of a tick. */
function rateTests(ratios: readonly number[], grid: readonly number[]) {
  const bins = ratios.length
  const bets = grid.length
  const logGrid = grid.map(Math.log)
  const capital = new Float64Array(bins * bets)
  return {
    add(canary: readonly number[], control: readonly number[], w: number) {
      for (let i = 0; i < bins; i++) {
        if (canary[i] === 0 && control[i] === 0) continue
        const ratio = ratios[i]!
        const base = ratio * w + 1 - w
        for (let k = 0; k < bets; k++) {
          const spread = Math.log((grid[k]! * ratio * w + 1 - w) / base)
          capital[i * bets + k]! += canary[i]! * (logGrid[k]! - spread) - control[i]! * spread
        }
      }
    },
    /** The log capital of each bet of an answer. */
    of: (answer: number): Float64Array => capital.subarray(answer * bets, (answer + 1) * bets),
    largest: (): number => capital.reduce((max, value) => Math.max(max, value), -Infinity),
  }
}

/** The answers of one stage: for each level, the two-arm rate test on each answer in both directions. The mean of their e-values is an e-value. */
function compareStage(
  bins: number,
  levels: readonly { ratio: number }[],
  { perKey = 1, predicted: given }: Counted,
) {
  const predicted = given?.names.length === bins ? given : undefined
  const inGate = predicted && answerShares(predicted)
  const expected = expectedShifts(predicted, bins)
  // Every level widens what is expected of an answer.
  const limits = levels.map(({ ratio }) =>
    expected.map(({ low, high, sd }) => {
      const widened = ratio * Math.exp(2 * sd)
      return { risen: high * widened, fallen: low / widened, widened }
    }),
  )
  const tests = limits.map((of) => [
    rateTests(
      of.map(({ risen }) => risen),
      shiftGrid,
    ),
    rateTests(
      of.map(({ fallen }) => fallen),
      fallGrid,
    ),
  ])
  const canarySum = Array.from({ length: bins }, () => 0)
  const controlSum = Array.from({ length: bins }, () => 0)
  // Stratified by tick (Mantel-Haenszel), because shares and answers move during a stage.
  const difference = Array.from({ length: bins }, () => 0)
  let weight = 0
  const controlShares = (): number[] | undefined => {
    const keys = sumOf(controlSum) / perKey
    return keys === 0 ? undefined : controlSum.map((count) => count / keys)
  }
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
    /** The evidence that answers moved by `minDelta` beyond what is expected, and the one that moved most; undefined when none did. */
    evidence(level: number, minDelta: number): { logE: number; answer: number | undefined } {
      const logs: number[] = []
      let answer: number | undefined
      let largest = -Infinity
      const shares = controlShares()
      const atMix = predicted && shares && sharesAtMix(predicted, shares)
      for (const [side, test] of tests[level]!.entries())
        for (let i = 0; i < bins; i++) {
          const logE = logMeanExp(test.of(i))
          const share = shares?.[i] ?? 0
          const now = share + (weight > 0 ? difference[i]! / weight : 0)
          const { low, high } = expected[i]!
          const { widened } = limits[level]![i]!
          const mix = atMix?.[i]
          const beyond =
            side === 0
              ? now - Math.max(share * high, mix === undefined ? 0 : mix * widened)
              : Math.min(share * low, mix === undefined ? 1 : mix / widened) - now
          // An answer that moved by less counts as a bet that was not placed, so that it proves nothing about another answer.
          logs.push(beyond >= minDelta ? logE : -Infinity)
          if (logE > largest && beyond >= minDelta) [largest, answer] = [logE, i]
        }
      return { logE: logMeanExp(logs), answer }
    },
    /** How many of the gate's test rows count when they are weighted to the answers that the champion gives now; undefined without any. */
    effectiveRows(): number | undefined {
      const shares = controlShares()
      return predicted && shares && effectiveRowsAt(predicted, shares)
    },
    figures(answer: number) {
      const [canaryKeys, controlKeys] = [sumOf(canarySum) / perKey, sumOf(controlSum) / perKey]
      return {
        canaryKeys,
        controlKeys,
        canaryShare: ratioOf(canarySum[answer]!, canaryKeys),
        controlShare: ratioOf(controlSum[answer]!, controlKeys),
        ...(inGate && {
          gateCanaryShare: inGate.candidate[answer]!,
          gateControlShare: inGate.champion[answer]!,
        }),
      }
    },
  }
}
