/** Counts the decisions of a binary model at a threshold against what came true. */

export interface DecisionCounts {
  threshold: number
  truePositives: number
  falsePositives: number
  falseNegatives: number
  trueNegatives: number
  accuracy: number | null
  /** Of the predicted positives, the share that came true; null without any. */
  precision: number | null
  /** Of what came true, the share that was predicted; null without any. */
  recall: number | null
}

/** A probability at the threshold is a positive, as in the gate. */
export function confusionAt(
  { observed, predicted }: { observed: readonly number[]; predicted: readonly number[] },
  threshold: number,
): DecisionCounts {
  const counts = { truePositives: 0, falsePositives: 0, falseNegatives: 0, trueNegatives: 0 }
  for (const [i, probability] of predicted.entries()) {
    const isPositive = observed[i] === 1
    if (probability >= threshold) counts[isPositive ? 'truePositives' : 'falsePositives']++
    else counts[isPositive ? 'falseNegatives' : 'trueNegatives']++
  }
  const { truePositives, falsePositives, falseNegatives, trueNegatives } = counts
  const share = (part: number, total: number) => (total > 0 ? part / total : null)
  return {
    threshold,
    ...counts,
    accuracy: share(truePositives + trueNegatives, predicted.length),
    precision: share(truePositives, truePositives + falsePositives),
    recall: share(truePositives, truePositives + falseNegatives),
  }
}
