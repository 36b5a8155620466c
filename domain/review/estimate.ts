/**
 * Estimates the accuracy of a model when people review some of its answers. Reviews come only from the band, where the model is least
 * certain, so pooling them with other outcomes would understate the accuracy.
 */

/** The predictions of a window inside the band, or outside it. */
export interface ReviewStratum {
  predictions: number
  /** The predictions with a known truth (an outcome or a review), and how many of those are right. */
  known: number
  right: number
}

export interface ReviewEstimate {
  /** Weighted by the number of predictions in each stratum; null while a stratum with predictions has no known truth. */
  accuracy: number | null
  /** The standard error of the accuracy. */
  error: number | null
  /** The accuracy of all known predictions together, which is biased when the strata are not equally known. */
  pooled: number | null
}

/**
 * accuracy = Σ (N_s/N)·(right_s/n_s), with N_s predictions and n_s known ones in stratum s. The standard error is the root of Σ
 * (N_s/N)²·p_s·(1 − p_s)/n_s with p_s = (right_s + 1)/(n_s + 2). Assumes that within a stratum, whether the truth becomes known does not
 * depend on the truth.
 */
export function estimateReviewed(strata: readonly ReviewStratum[]): ReviewEstimate {
  const present = strata.filter(({ predictions }) => predictions > 0)
  const total = present.reduce((sum, { predictions }) => sum + predictions, 0)
  const known = present.reduce((sum, each) => sum + each.known, 0)
  const pooled = known === 0 ? null : present.reduce((sum, { right }) => sum + right, 0) / known
  if (total === 0 || present.some((each) => each.known === 0)) return { accuracy: null, error: null, pooled }
  let [accuracy, variance] = [0, 0]
  for (const { predictions, known: n, right } of present) {
    const weight = predictions / total
    const share = (right + 1) / (n + 2)
    accuracy += (weight * right) / n
    variance += (weight ** 2 * share * (1 - share)) / n
  }
  return { accuracy, error: Math.sqrt(variance), pooled }
}
