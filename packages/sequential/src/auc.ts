/** Computes the area under the ROC curve by midranks, so that ties count half and the order of the rows does not matter. */
import { firstPlace } from './quantiles.ts'

/** Ranks from 1; tied values share the mean of their ranks. */
export function midranks(values: ArrayLike<number>): Float64Array {
  const sorted = new Float64Array(values).sort()
  const n = sorted.length
  const rank = new Float64Array(n) // at the first place of each group of ties
  for (let i = 0; i < n;) {
    let j = i + 1
    while (j < n && sorted[j] === sorted[i]) j++
    rank[i] = (i + j + 1) / 2
    i = j
  }
  const ranks = new Float64Array(n)
  const placeOf = placesIn(sorted)
  for (let i = 0; i < n; i++) ranks[i] = rank[placeOf(values[i]!)]!
  return ranks
}

/** The indices that sort the values upwards; ties keep their order. */
export function orderOf(values: ArrayLike<number>): Uint32Array {
  const sorted = new Float64Array(values).sort()
  const taken = new Uint32Array(sorted.length)
  const order = new Uint32Array(sorted.length)
  const placeOf = placesIn(sorted)
  for (let i = 0; i < sorted.length; i++) {
    const place = placeOf(values[i]!)
    order[place + taken[place]!++] = i
  }
  return order
}

const rowsPerBucket = 16

/**
 * Finds the first place of a value among sorted ones. Each of equal buckets between the least and the greatest value knows its places, so
 * that a search in millions of values touches few of them.
 */
function placesIn(sorted: Float64Array): (value: number) => number {
  const least = sorted[0] ?? 0
  const range = sorted.at(-1)! - least
  const buckets = Math.floor(sorted.length / rowsPerBucket)
  const scale = (buckets - 1) / range
  // Too few values, and those without a finite range.
  if (!(scale > 0 && scale < Infinity)) return (value) => firstPlace(sorted, value)
  const bucketOf = (value: number) => Math.floor((value - least) * scale)
  const starts = new Uint32Array(buckets + 1)
  for (let place = 0; place < sorted.length; place++) starts[bucketOf(sorted[place]!) + 1]!++
  for (let bucket = 0; bucket < buckets; bucket++) starts[bucket + 1]! += starts[bucket]!
  return (value) => {
    const bucket = bucketOf(value)
    let low = starts[bucket]!
    let high = starts[bucket + 1]!
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sorted[middle]! < value) low = middle + 1
      else high = middle
    }
    return low
  }
}

/**
 * P(score of a positive > score of a negative) + ½·P(equal): the statistic of Mann and Whitney (Annals of Mathematical Statistics, 1947),
 * divided by the number of pairs.
 * @param y 1 for a positive row, 0 for a negative one; @param scores higher for likelier positives
 * @returns from 0 to 1; null unless both classes occur
 */
export function auc(y: ArrayLike<number>, scores: ArrayLike<number>): number | null {
  const ranks = midranks(scores)
  let positives = 0
  let sum = 0
  for (let i = 0; i < ranks.length; i++) {
    if (y[i] !== 1) continue
    positives++
    sum += ranks[i]!
  }
  const negatives = ranks.length - positives
  if (positives === 0 || negatives === 0) return null
  return (sum - (positives * (positives + 1)) / 2) / (positives * negatives)
}
