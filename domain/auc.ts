/**
 * The area under the ROC curve by midranks, so that ties count half: a model that gives everyone the same score
 * has 0.5, whatever order the rows came in.
 */

/** Ranks from 1; tied values share the mean of their ranks. */
export function midranks(values: ArrayLike<number>): Float64Array {
  const n = values.length
  const order = orderOf(values)
  const ranks = new Float64Array(n)
  for (let i = 0; i < n;) {
    let j = i
    while (j < n && values[order[j]!] === values[order[i]!]) j++
    for (let k = i; k < j; k++) ranks[order[k]!] = (i + j + 1) / 2
    i = j
  }
  return ranks
}

/** The indices that sort the values upwards. */
export function orderOf(values: ArrayLike<number>): Uint32Array {
  const order = Uint32Array.from({ length: values.length }, (_, i) => i)
  return order.sort((a, b) => values[a]! - values[b]!)
}

/** @param y 1 for a positive row, 0 for a negative one. Null with one class only, or none. */
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
