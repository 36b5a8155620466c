/** Converts the sums of a row to its prediction, as the objectives of the libraries do. */

/** Replaces `count` sums, starting at `at`. */
export type LinkFunction = (sums: Float64Array, at: number, count: number) => void

const each =
  (of: (sum: number) => number): LinkFunction =>
  (sums, at, count) => {
    for (let i = at; i < at + count; i++) sums[i] = of(sums[i]!)
  }

export const identity: LinkFunction = () => {}
export const exponential = each(Math.exp)
export const signedSquare = each((sum) => Math.sign(sum) * sum * sum)
export const softplus = each((sum) => Math.log1p(Math.exp(sum)))
export const step = each((sum) => (sum > 0 ? 1 : 0))
/** Sorts predictions. Does not use `sort`, which would need a view of them. */
export const ascending: LinkFunction = (sums, at, count) => {
  for (let i = at + 1; i < at + count; i++)
    for (let k = i; k > at && sums[k - 1]! > sums[k]!; k--) {
      const larger = sums[k - 1]!
      sums[k - 1] = sums[k]!
      sums[k] = larger
    }
}

/** XGBoost adds this to each step, so that no step is 0. */
export const leastStep = 1e-6

/** Makes each prediction the one before it plus a positive step. */
export const rising: LinkFunction = (sums, at, count) => {
  for (let i = at + 1; i < at + count; i++) {
    const sum = sums[i]!
    sums[i] = sums[i - 1]! + Math.max(sum, 0) + Math.log1p(Math.exp(-Math.abs(sum))) + leastStep
  }
}

/** Returns the logistic function. `slope` is LightGBM's `sigmoid`. */
export const logistic = (slope = 1): LinkFunction => each((sum) => 1 / (1 + Math.exp(-slope * sum)))

/** Computes a mean and a variance from a mean and the logarithm of a standard deviation. */
export const meanAndVariance: LinkFunction = (sums, at, count) => {
  if (count === 2) sums[at + 1] = Math.exp(2 * sums[at + 1]!)
}

export const softmax: LinkFunction = (sums, at, count) => {
  const end = at + count
  let most = -Infinity
  for (let i = at; i < end; i++) most = Math.max(most, sums[i]!)
  let total = 0
  for (let i = at; i < end; i++) total += sums[i] = Math.exp(sums[i]! - most)
  for (let i = at; i < end; i++) sums[i] = sums[i]! / total
}
