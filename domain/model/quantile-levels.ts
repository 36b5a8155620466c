/**
 * Sorts the quantiles of a row. A model that learns each level separately may produce crossing quantiles; sorted ones are never worse in
 * pinball loss (Chernozhukov, Fernández-Val and Galichon 2010).
 */

/** Sorts the outputs of each row in place. A row with NaN stays invalid. */
export function sortQuantiles(
  outputs: Float32Array | Float64Array | number[],
  rows: number,
  width: number,
): void {
  for (let row = 0; row < rows; row++)
    for (let i = row * width + 1; i < (row + 1) * width; i++) {
      const value = outputs[i]!
      let at = i
      for (; at > row * width && outputs[at - 1]! > value; at--) outputs[at] = outputs[at - 1]!
      outputs[at] = value
    }
}

/** The index of the level nearest to the median, which represents the row when one number is needed. */
export function middlePlace(levels: readonly number[]): number {
  let best = 0
  levels.forEach((level, place) => {
    // 0.05 and 0.95 are equally near, except for the last digit.
    if (Math.abs(level - 0.5) < Math.abs(levels[best]! - 0.5) - 1e-9) best = place
  })
  return best
}

/**
 * The mean pinball loss of a row over its levels: with q the quantile at level τ, max(τ·(y − q), (τ − 1)·(y − q)) (Koenker and Bassett
 * 1978).
 */
export function pinballLoss(
  y: number,
  quantiles: readonly number[] | Float32Array,
  levels: readonly number[],
): number {
  let sum = 0
  for (let k = 0; k < levels.length; k++) {
    const error = y - quantiles[k]!
    sum += error >= 0 ? levels[k]! * error : (levels[k]! - 1) * error
  }
  return sum / levels.length
}
