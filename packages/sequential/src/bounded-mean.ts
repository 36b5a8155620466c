/**
 * Tests and bounds the mean of values in [0, 1] by betting, at every look. The capital of H0 "the mean is at most m" is a mixture of Π(1
 * + λ(D − m)); the confidence sequence contains every m whose capital is small (Waudby-Smith and Ramdas, JRSS-B 2024).
 */
import { geometric } from './e-process.ts'
import { logMeanExp } from './distributions.ts'

const bets = geometric(0.02, 0.95, 12)

/** The number of draws per value: `counts[i]` draws had the value i / (counts.length − 1). A draw may be shared between values. */
export type ValueCounts = readonly number[]

/** Differences are counted in steps of 1/200. */
const differenceSteps = 400

/**
 * How often each difference in [−1, 1] occurred: `counts[i]` at −1 + 2i/(length − 1), in steps of 1/200. A difference between two steps is
 * shared between them, so that the mean stays exact. The logarithm of a bet is concave, so the shares win no more than the difference does,
 * and every bound holds; rounding would move the mean of small differences.
 * @throws RangeError for a difference outside of [−1, 1]
 */
export function countDifferences(differences: readonly number[]): ValueCounts {
  const counter = differenceCounter()
  differences.forEach(counter.add)
  return counter.counts()
}

/** `countDifferences` of differences that are added one by one, in memory that does not grow. */
export function differenceCounter(): { add(difference: number): void; counts(): ValueCounts } {
  const counts = Array.from({ length: differenceSteps + 1 }, () => 0)
  return {
    add(difference) {
      const at = ((difference + 1) / 2) * differenceSteps
      if (!(at >= -1e-6 && at <= differenceSteps + 1e-6))
        throw new RangeError(`the difference is ${difference}: scale differences to [−1, 1]`)
      const below = Math.min(differenceSteps, Math.max(0, Math.floor(at + 1e-9)))
      const above = Math.max(0, at - below)
      counts[below]! += 1 - above
      if (above > 0) counts[Math.min(differenceSteps, below + 1)]! += above
    },
    counts: () => [...counts],
  }
}

const capital = (counts: ValueCounts, mean: number, direction: 1 | -1): number => {
  const width = counts.length - 1
  // The largest bet that cannot lose all its capital.
  const most = 0.999 / (direction > 0 ? mean : 1 - mean)
  return logMeanExp(
    bets.map((bet) => {
      let sum = 0
      for (let i = 0; i <= width; i++)
        if (counts[i]! > 0) sum += counts[i]! * Math.log1p(direction * bet * most * (i / width - mean))
      return sum
    }),
  )
}

const isReadable = (counts: ValueCounts): boolean =>
  counts.length >= 2 && counts.every((n) => n >= 0 && n < Infinity)

/** The log evidence, in nats, against H0 "the mean is at most `limit`"; null for unreadable counts, and unless 0 < limit < 1. */
export function meanAboveEvidence(counts: ValueCounts, limit: number): number | null {
  return isReadable(counts) && limit > 0 && limit < 1 ? capital(counts, limit, 1) : null
}

/** The number of draws. */
export const drawsOf = (counts: ValueCounts): number => counts.reduce((sum, n) => sum + n, 0)

/** The mean of the values; null without draws. */
export function meanOf(counts: ValueCounts): number | null {
  const draws = drawsOf(counts)
  const width = counts.length - 1
  return draws > 0 ? counts.reduce((sum, n, i) => sum + (n * i) / width, 0) / draws : null
}

/**
 * A confidence sequence: bounds that contain the mean at all looks together with probability 1 − alpha.
 * @param counts the draws so far
 * @returns [0, 1] without draws
 * @throws RangeError unless 0 < alpha < 1
 */
export function meanInterval(counts: ValueCounts, alpha: number): { low: number; high: number } {
  if (!(alpha > 0 && alpha < 1))
    throw new RangeError(`alpha is ${alpha}: give a probability between 0 and 1, such as 0.05`)
  const mean = isReadable(counts) ? meanOf(counts) : null
  if (mean === null) return { low: 0, high: 1 }
  const threshold = Math.log(2 / alpha)
  const bound = (outer: 0 | 1, direction: 1 | -1): number => {
    let [far, near] = [outer as number, mean]
    for (let i = 0; i < 30; i++) {
      const middle = (far + near) / 2
      if (middle <= 0 || middle >= 1) break
      if (capital(counts, middle, direction) >= threshold) far = middle
      else near = middle
    }
    return far
  }
  return { low: bound(0, 1), high: bound(1, -1) }
}

/** Evidence on a mean, of values that are added one by one and not rounded. */
export interface MeanTest {
  /** Adds a value. Throws RangeError for one outside of the bounds, up to rounding. */
  add(value: number): void
  /**
   * The log evidence, in nats.
   * @param times the evidence if each value had come this many times: a forecast for more values like these. Default: 1
   */
  logE(times?: number): number
}

/** The capital of bets on gains of at least −1, whose mean is at most 0 under H0: Π(1 + bet·gain), the mean over the bets. */
function bettor() {
  const logs = new Float64Array(bets.length)
  const won = new Float64Array(bets.length)
  let before = NaN
  return {
    add(gain: number): void {
      // Most decisions are the same, and a logarithm costs more than all else here.
      if (gain !== before) for (let k = 0; k < logs.length; k++) won[k] = Math.log1p(bets[k]! * 0.999 * gain)
      before = gain
      for (let k = 0; k < logs.length; k++) logs[k]! += won[k]!
    },
    logE: (times = 1): number => logMeanExp(times === 1 ? logs : logs.map((log) => times * log)),
  }
}

/**
 * Tests H0 "the mean of the values is at most 0" on values in [−1, 1]. Values are not rounded: the mean of a sum of money is small compared
 * with the step of a count.
 */
export function meanAboveZero(): MeanTest {
  const { add, logE } = bettor()
  return {
    add(value) {
      // Most users buy nothing.
      if (value === 0) return
      if (!(Math.abs(value) <= 1 + 1e-9))
        throw new RangeError(`the value is ${value}: divide values by their largest possible size`)
      add(value)
    },
    logE,
  }
}

/**
 * Tests H0 "the mean of the values is at most `limit`" on values in [0, 1], with bets of up to 1/limit on D − limit.
 * @throws RangeError unless 0 < limit < 1
 */
export const meanAbove = (limit: number): MeanTest =>
  meanAgainst(limit, 1, (value) => (value - limit) / limit)

/**
 * Tests H0 "the mean of the values is at least `limit`" on values in [0, largest], with bets of up to 1/(largest − limit) on limit − D
 * (Waudby-Smith and Ramdas, JRSS-B 2024). Values that are known to be small need fewer draws.
 * @param largest the largest possible value, at most 1
 * @throws RangeError unless 0 < limit < largest ≤ 1
 */
export const meanBelow = (limit: number, largest = 1): MeanTest =>
  meanAgainst(limit, largest, (value) => (limit - value) / (largest - limit))

function meanAgainst(limit: number, largest: number, gainOf: (value: number) => number): MeanTest {
  if (!(limit > 0 && limit < largest && largest <= 1))
    throw new RangeError(`the limit is ${limit}: give a number above 0 and below ${largest}`)
  const { add, logE } = bettor()
  return {
    add(value) {
      if (!(value >= 0 && value <= largest + 1e-9))
        throw new RangeError(`the value is ${value}: give values from 0 to ${largest}`)
      add(gainOf(value))
    },
    logE,
  }
}
