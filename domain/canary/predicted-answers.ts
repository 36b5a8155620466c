/**
 * Holds what the gate has seen of the answers of both versions to the same labelled test rows. A release asks about a difference only where it
 * goes beyond that, because a better model may rightly answer otherwise.
 */

/** The test rows with one pair of answers. */
export interface AnswerCell {
  /** The answer of the champion and of the candidate, by the place of its bin. */
  champion: number
  candidate: number
  rows: number
  /** In how many of them each version was right or, for numbers, nearer to the truth. */
  championRight: number
  candidateRight: number
}

/** The mean distance of the answers, as `limits.disagreement` measures it, of all rows or of one slice. */
export interface PredictedDistance {
  name: string
  mean: number
  /** Its standard deviation over the blocks. */
  sd: number
}

export interface PredictedAnswers {
  /** The names of the bins of the answers, which the champion fixes. */
  names: readonly string[]
  /** The test rows. One row has a cell for each number that both versions answer. */
  rows: number
  /** The pairs of answers that occurred. */
  cells: readonly AnswerCell[]
  /** For each answer, the standard deviation over the blocks of ln(share of the candidate ÷ share of the champion). */
  sd: readonly number[]
  /** All rows first, then each declared slice. Empty where no distance is known. */
  distances: readonly PredictedDistance[]
  /** What the uncertainty was taken over: the days of the test rows, or parts of equal size. */
  blocks: { count: number; of: 'days' | 'rows' }
}
