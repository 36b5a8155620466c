/**
 * Computes the running evidence of every sequential test: a mixture of bets with restarts, so that no single guess of the effect has to be
 * right, and an effect that begins after many uneventful hours need not undo those hours first.
 *
 * E = mean_k Π_i exp(gain_ik) is an e-process when each factor has a mean of at most 1 under the null hypothesis: P(E ever reaches 1/α) ≤ α
 * (Ville, 1939; Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical Science,
 * 2023).
 *
 * The evidence after restarts is Σ_j w_j·E^(j) with w_j = 1/(j(j+1)), where E^(j) begins at the j-th start and the mass of future starts
 * counts 1. It is folded per bet, so memory and time do not grow with the number of starts. A test may give the first start more than its
 * half; the others then share the rest in the same proportions.
 */
import { logAddExp, logMeanExp } from './distributions.ts'

/** The evidence of one null hypothesis. */
export interface EProcess {
  /**
   * Adds the log gain of one observation to each bet. Throws RangeError for a gain that is not a number, which no later look could undo.
   */
  add(gains: ArrayLike<number>): void
  /** Starts another copy beside the older ones. The first copy starts at creation. Call it at times that the data do not choose. */
  restart(): void
  /** The log of the evidence over all starts, in nats. At creation it is 0. Reject the null hypothesis once it reaches ln(1/α). */
  logE(): number
  /** The log of the evidence of the first start alone, in nats; equal to a test that is never restarted. */
  plainLogE(): number
}

/**
 * An e-process over several bets.
 * @param bets the number of bets, whose mean is the evidence
 * @param firstMass w_1, the weight of the first start, between 0 and 1
 * @throws RangeError unless `bets` is a whole number above 0 and 0 < firstMass < 1
 */
export function eProcess(bets: number, firstMass = 1 / 2): EProcess {
  if (!(Number.isInteger(bets) && bets > 0)) throw new RangeError(`${bets} bets: give a whole number above 0`)
  if (!(firstMass > 0 && firstMass < 1))
    throw new RangeError(`firstMass is ${firstMass}: give a weight between 0 and 1`)
  const later = 2 * (1 - firstMass)
  const capital = new Float64Array(bets) // log capital of each bet since the first start
  const offset = new Float64Array(bets).fill(Math.log(firstMass)) // log Σ_j w_j·exp(−capital at start j)
  const total = new Float64Array(bets)
  let starts = 1
  return {
    add(gains) {
      if (Number.isNaN(gains[0])) throw new RangeError('the gain is NaN: give counts that are finite numbers')
      for (let k = 0; k < bets; k++) capital[k]! += gains[k]!
    },
    restart() {
      starts++
      const weight = Math.log(later / (starts * (starts + 1)))
      for (let k = 0; k < bets; k++) offset[k] = logAddExp(offset[k]!, weight - capital[k]!)
    },
    logE() {
      for (let k = 0; k < bets; k++) total[k] = capital[k]! + offset[k]!
      return logAddExp(logMeanExp(total), Math.log(later / (starts + 1)))
    },
    plainLogE: () => logMeanExp(capital),
  }
}

/** A geometric grid of `count` values from `low` to `high`, both included; 0 < low < high, count ≥ 2. */
export function geometric(low: number, high: number, count: number): number[] {
  return Array.from({ length: count }, (_, k) => low * (high / low) ** (k / (count - 1)))
}

/** The ratios that a rate test bets on for "more than": r_k = 1.25·(40/1.25)^(k/15), k = 0..15. */
export const ratioGrid: readonly number[] = geometric(1.25, 40, 16)

/** The reciprocal ratios, which bet on "less than". */
export const inverseGrid: readonly number[] = ratioGrid.map((ratio) => 1 / ratio)
