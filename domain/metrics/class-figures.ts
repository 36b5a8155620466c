/** Measures each class of several alone: a good accuracy may hide a rare class that is never found. */
import { auc } from '@tenure/sequential'
import { flags } from '../statistics/flags.ts'
import { likeliest } from '../tasks/output.ts'
import { answerReader, type ModelAnswers } from './answers.ts'

export interface ClassQuality {
  /** Of the rows that are predicted as the class, the share that is of it; null without any. */
  precision: number | null
  /** Of the rows of the class, the share that is predicted as it; null without any. */
  recall: number | null
  /** How well its probability separates its rows from all others; null without either. */
  auc: number | null
}

/** In the order in which reports show them. */
export const classMetrics = ['precision', 'recall', 'auc'] as const

export interface ClassFigures {
  name: string
  /** The rows of the class. */
  rows: number
  champion: ClassQuality | null
  challenger: ClassQuality
}

/** `y`: the class of each row, as its place in `names`. */
export function classFigures(
  y: ArrayLike<number>,
  names: readonly string[],
  { challenger, champion }: { challenger: ModelAnswers; champion: ModelAnswers | null },
): ClassFigures[] {
  const own = qualityOf(y, names.length, challenger)
  const old = champion && qualityOf(y, names.length, champion)
  return names.map((name, k) => ({
    name,
    champion: old && old[k]!.quality,
    challenger: own[k]!.quality,
    rows: own[k]!.rows,
  }))
}

function qualityOf(
  y: ArrayLike<number>,
  classes: number,
  answers: ModelAnswers,
): { rows: number; quality: ClassQuality }[] {
  const rowAt = answerReader(answers)
  const counts = Array.from({ length: classes }, () => ({ hits: 0, predicted: 0, rows: 0 }))
  const scores = counts.map(() => new Float64Array(y.length))
  for (let row = 0; row < y.length; row++) {
    const answer = rowAt(row)
    const decided = likeliest(answer, 0, classes)
    scores.forEach((score, k) => (score[row] = answer[k]!))
    counts[y[row]!]!.rows++
    counts[decided]!.predicted++
    if (decided === y[row]) counts[decided]!.hits++
  }
  const share = (part: number, whole: number) => (whole === 0 ? null : part / whole)
  return counts.map(({ hits, predicted, rows }, k) => ({
    rows,
    quality: {
      precision: share(hits, predicted),
      recall: share(hits, rows),
      auc: auc(
        flags(y.length, (row) => y[row] === k),
        scores[k]!,
      ),
    },
  }))
}
