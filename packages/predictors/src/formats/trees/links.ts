/** Converts the sums of a row to its prediction, as the objectives of the libraries do. */

export interface LinkFunction {
  /** Replaces `count` sums, starting at `at`. */
  (sums: Float64Array, at: number, count: number): void
  /** How much a prediction changes at most where no sum changes by more than 1, and the largest prediction; absent without a limit. */
  slope?: { of: number; most?: number }
}

const withSlope = (link: LinkFunction, of: number, most?: number): LinkFunction =>
  Object.assign(link, { slope: { of, most } })

const each =
  (of: (sum: number) => number): LinkFunction =>
  (sums, at, count) => {
    for (let i = at; i < at + count; i++) sums[i] = of(sums[i]!)
  }

export const identity = withSlope(() => {}, 1)
export const exponential = each(Math.exp)
export const signedSquare = each((sum) => Math.sign(sum) * sum * sum)
export const softplus = withSlope(
  each((sum) => Math.log1p(Math.exp(sum))),
  1,
)
export const step = each((sum) => (sum > 0 ? 1 : 0))
/** Sorts predictions. Does not use `sort`, which would need a view of them. */
export const ascending = withSlope((sums, at, count) => {
  for (let i = at + 1; i < at + count; i++)
    for (let k = i; k > at && sums[k - 1]! > sums[k]!; k--) {
      const larger = sums[k - 1]!
      sums[k - 1] = sums[k]!
      sums[k] = larger
    }
}, 1)

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
export const logistic = (slope = 1): LinkFunction =>
  withSlope(
    each((sum) => 1 / (1 + Math.exp(-slope * sum))),
    slope / 4,
    1,
  )

/** Computes a mean and a variance from a mean and the logarithm of a standard deviation. */
export const meanAndVariance: LinkFunction = (sums, at, count) => {
  if (count === 2) sums[at + 1] = Math.exp(2 * sums[at + 1]!)
}

/** Its own sum and those of the others may move apart by twice as much. */
export const softmax = withSlope(
  (sums, at, count) => {
    const end = at + count
    let most = -Infinity
    for (let i = at; i < end; i++) most = Math.max(most, sums[i]!)
    let total = 0
    for (let i = at; i < end; i++) total += sums[i] = Math.exp(sums[i]! - most)
    for (let i = at; i < end; i++) sums[i] = sums[i]! / total
  },
  1 / 2,
  1,
)
