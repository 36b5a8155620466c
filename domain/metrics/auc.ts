/** Computes the area under the ROC curve by midranks, so that ties count half and the order of the rows does not matter. */
import { firstPlace } from '../statistics/quantiles.ts'

/** Ranks from 1; tied values share the mean of their ranks. */
export function midranks(values: ArrayLike<number>): Float64Array {
  const sorted = Float64Array.from(values).sort()
  const n = sorted.length
  const rank = new Float64Array(n) // at the first place of each group of ties
  for (let i = 0; i < n;) {
    let j = i + 1
    while (j < n && sorted[j] === sorted[i]) j++
    rank[i] = (i + j + 1) / 2
    i = j
  }
  return Float64Array.from({ length: n }, (_, i) => rank[firstPlace(sorted, values[i]!)]!)
}

/** The indices that sort the values upwards; ties keep their order. */
export function orderOf(values: ArrayLike<number>): Uint32Array {
  const sorted = Float64Array.from(values).sort()
  const taken = new Uint32Array(sorted.length)
  const order = new Uint32Array(sorted.length)
  for (let i = 0; i < sorted.length; i++) {
    const place = firstPlace(sorted, values[i]!)
    order[place + taken[place]!++] = i
  }
  return order
}

/** @param y 1 for a positive row, 0 for a negative one. Null unless both classes occur. */
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
