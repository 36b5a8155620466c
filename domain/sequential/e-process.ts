/**
 * Computes the running evidence of every sequential test: a mixture of bets with restarts, so that no single guess of the fault has to
 * be right, and a fault after many good hours need not undo those hours first.
 *
 * The evidence after restarts is Σ_j w_j·E^(j) with w_j = 1/(j(j+1)), where E^(j) begins at the j-th start and the mass of future
 * starts counts 1. It is folded per bet, so memory and time do not grow with the number of starts. A test may give the first start
 * more than its half; the others then share the rest in the same proportions.
 */
import { logAddExp, logMeanExp } from '../statistics/distributions.ts'

export interface EProcess {
  /** Adds the log gain of one observation to each bet. */
  add(gains: ArrayLike<number>): void
  /** Starts another copy beside the older ones. The first copy starts at creation. */
  restart(): void
  /** The log of the evidence over all starts. At creation it is 0. */
  logE(): number
  /** The log of the evidence of the first start alone. */
  plainLogE(): number
}

/** An e-process over `bets` bets; `firstMass` is w_1, between 0 and 1. */
export function eProcess(bets: number, firstMass = 1 / 2): EProcess {
  const later = 2 * (1 - firstMass)
  const capital = new Float64Array(bets) // log capital of each bet since the first start
  const offset = new Float64Array(bets).fill(Math.log(firstMass)) // log Σ_j w_j·exp(−capital at start j)
  const total = new Float64Array(bets)
  let starts = 1
  return {
    add(gains) {
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

/** A geometric grid of `count` values from `low` to `high`, both included. */
export function geometric(low: number, high: number, count: number): number[] {
  return Array.from({ length: count }, (_, k) => low * (high / low) ** (k / (count - 1)))
}

/** The ratios that a rate test bets on: r_k = 1.25·(40/1.25)^(k/15), k = 0..15. */
export const ratioGrid: readonly number[] = geometric(1.25, 40, 16)

/** The reciprocal bets, for "lower is worse" and for the promotion test. */
export const inverseGrid: readonly number[] = ratioGrid.map((ratio) => 1 / ratio)
