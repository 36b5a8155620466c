/**
 * Computes the confidence sequence of the ratio of two rates: after each look, the ratios that the two-arm test has not refuted. The true
 * ratio stays inside at all looks together, except with the probability of the two thresholds, so the interval may be shown at any time
 * (tests inverted to a confidence sequence: Darling and Robbins, PNAS, 1967; Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics,
 * 2021).
 */
import { geometric, ratioGrid } from './e-process.ts'
import { twoArmRateTest, type RateTick } from './two-arm-rate-test.ts'

/** The bounds of a ratio of rates. */
export interface RatioBounds {
  /** 0 while no ratio is refuted from below. */
  low: number
  /** Infinity while no ratio is refuted from above. */
  high: number
}

/** When a ratio is refuted, and by which bets. */
export interface RatioThresholds {
  /** The log evidence, in nats, that refutes "the ratio is at most r": ln(2/α) for a two-sided interval. */
  lowLogE: number
  /** The log evidence, in nats, that refutes "the ratio is at least r": ln(2/α) for a two-sided interval. */
  highLogE: number
  /** The ratios that both tests bet on, above 1: `ratioGrid` by default. */
  grid?: readonly number[]
  /** The weight of the first start of the test for the lower bound. */
  firstMass?: number
  /** The ticks before which the test starts again beside its older copies. */
  restarts?: ReadonlySet<number>
}

/** The tested ratios; a bound lies between two of them. */
const candidates: readonly number[] = geometric(1 / 64, 64, 49)

/**
 * The bounds of rate of the treatment / rate of the control after each tick, never wider than before. One tick may hold all counts between
 * two looks. The bounds lie within 1/64 and 64.
 */
export function ratioSequence(
  ticks: readonly RateTick[],
  { lowLogE, highLogE, grid = ratioGrid, firstMass, restarts }: RatioThresholds,
): RatioBounds[] {
  const above = candidates.map((ratio) => twoArmRateTest({ ratio, grid, firstMass }))
  const inverse = grid.map((each) => 1 / each)
  const below = candidates.map((ratio) => twoArmRateTest({ ratio, grid: inverse }))
  const logLow = new Float64Array(candidates.length)
  const logHigh = new Float64Array(candidates.length)
  let bounds: RatioBounds = { low: 0, high: Infinity }
  return ticks.map((tick, at) => {
    if (restarts?.has(at)) for (const each of above) each.restart()
    if (tick.treatmentEvents === 0 && tick.controlEvents === 0) return bounds
    for (let i = 0; i < candidates.length; i++) {
      above[i]!.add(tick)
      below[i]!.add(tick)
      logLow[i] = above[i]!.logE()
      logHigh[i] = below[i]!.plainLogE()
    }
    const low = crossing(logLow, lowLogE, 1) ?? 0
    const high = crossing(logHigh, highLogE, -1) ?? Infinity
    bounds = { low: Math.max(bounds.low, low), high: Math.min(bounds.high, high) }
    return bounds
  })
}

/** The outermost ratio whose evidence reaches the threshold: the highest for `side` 1, the lowest for −1. */
function crossing(logE: Float64Array, threshold: number, side: 1 | -1): number | undefined {
  const last = side === 1 ? candidates.length - 1 : 0
  for (let i = last; i >= 0 && i < candidates.length; i -= side) {
    if (logE[i]! < threshold) continue
    if (i === last) return candidates[i]!
    const share = (logE[i]! - threshold) / (logE[i]! - logE[i + side]!)
    return candidates[i]! * (candidates[i + side]! / candidates[i]!) ** share
  }
  return undefined
}
