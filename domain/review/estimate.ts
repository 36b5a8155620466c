/**
 * Estimates the accuracy of a model some of whose answers people review. Reviews come from the band alone, where the model is least sure,
 * so that pooled with the other outcomes they would make it look worse.
 */

/** The predictions of a window inside of the band, or outside. */
export interface ReviewStratum {
  predictions: number
  /** Those whose truth is known, by an outcome or a review, and those of them that the model has right. */
  known: number
  right: number
}

export interface ReviewEstimate {
  /** Each stratum weighs as many predictions as it has; null while one with predictions has no known truth. */
  accuracy: number | null
  /** Its standard error. */
  error: number | null
  /** Of all known ones together, which is biased where the strata are not known alike. */
  pooled: number | null
}

/**
 * accuracy = Σ (N_s/N)·(right_s/n_s), and its error is the root of Σ (N_s/N)²·p_s·(1 − p_s)/n_s with p_s = (right_s + 1)/(n_s + 2).
 * It assumes that within a stratum truth becomes known whatever it is.
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
