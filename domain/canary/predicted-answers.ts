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

/** Fewer test rows say nothing of what to expect. */
export const minPredictingRows = 200

/** The share of each answer among the test rows. Of several numbers, those of each number sum to 1. */
export function answerShares({
  names,
  rows,
  cells,
}: PredictedAnswers): Record<'champion' | 'candidate', number[]> {
  const champion = names.map(() => 0)
  const candidate = names.map(() => 0)
  for (const cell of cells) {
    champion[cell.champion]! += cell.rows / rows
    candidate[cell.candidate]! += cell.rows / rows
  }
  return { champion, candidate }
}

/**
 * For each answer, the ratios of the shares that are expected: from 1, as of an equal candidate, to what the test rows show. Without a
 * prediction, an equal candidate is expected.
 */
export function expectedShifts(
  predicted: PredictedAnswers | undefined,
  bins: number,
): { low: number; high: number; sd: number }[] {
  if (predicted === undefined) return Array.from({ length: bins }, () => ({ low: 1, high: 1, sd: 0 }))
  const { champion, candidate } = answerShares(predicted)
  const c = 0.5 / predicted.rows
  return champion.map((share, i) => {
    const ratio = (candidate[i]! + c) / (share + c)
    return { low: Math.min(1, ratio), high: Math.max(1, ratio), sd: predicted.sd[i] ?? 0 }
  })
}

/**
 * The shares of the candidate that the test rows predict where the champion answers with these shares. The ratio of two shares moves with the mix
 * of the requests; the answers to rows to which the champion gave the same answer move less.
 */
export function sharesAtMix({ names, cells }: PredictedAnswers, shares: readonly number[]): number[] {
  const given = names.map(() => 0)
  for (const { champion, rows } of cells) given[champion]! += rows
  // An answer that the champion has never given on the test rows stays.
  const expected = names.map((_, i) => (given[i] === 0 ? shares[i]! : 0))
  for (const { champion, candidate, rows } of cells)
    expected[candidate]! += (shares[champion]! * rows) / given[champion]!
  return expected
}

/** How many rows of equal weights show as much as the test rows do, weighted to these shares of the champion (Kish). */
export function effectiveRowsAt(predicted: PredictedAnswers, shares: readonly number[]): number {
  const { champion } = answerShares(predicted)
  const c = 0.5 / predicted.rows
  let [total, squares] = [0, 0]
  for (const [i, share] of shares.entries()) {
    total += share
    squares += share ** 2 / (champion[i]! + c)
  }
  return (predicted.rows * total) / squares
}

/** The largest mean distance that the test rows let expect, of a slice or, where it is unknown, of all rows. */
export function expectedDistance(predicted: PredictedAnswers | undefined, name: string): number {
  const { distances = [] } = predicted ?? {}
  const { mean, sd } = distances.find((each) => each.name === name) ?? distances[0] ?? { mean: 0, sd: 0 }
  return Math.min(0.99, mean + 2 * sd)
}

/** The test rows that would be answered otherwise, by both answers, most rows first. */
export const answeredOtherwise = (predicted: PredictedAnswers) =>
  predicted.cells
    .filter(({ champion, candidate }) => champion !== candidate)
    .map((cell) => ({
      from: predicted.names[cell.champion]!,
      to: predicted.names[cell.candidate]!,
      share: cell.rows / predicted.rows,
      ...cell,
    }))
