/** Describes the answered requests that a snapshot of served rows was made of, for the lineage of the versions trained on it. */
import { groupedDigits } from '../figures.ts'

export interface ServedFacts {
  /** ISO 8601: where the span of the requests begins; the whole log when absent. */
  since?: string
  /** The age from which a request counts, in milliseconds. */
  maturedMs: number
  /** Whether that age is learnt from the delays of outcomes. */
  isLearnt: boolean
  /** Predictions of the span that are old enough. */
  predictions: number
  /** Those with an outcome, which are rows. */
  rows: number
  /** Younger predictions. */
  young: number
  /** Predictions whose outcome is no value of the label. */
  unreadable: number
  /** Predictions with an outcome whose inputs the log no longer holds. */
  removed: number
  /** By the version that answered. */
  versions: Record<string, ServedVersion>
}

export interface ServedVersion {
  /** Those that are old enough. */
  predictions: number
  rows: number
  /** Features of the model file that its requests do not have. */
  lacks?: string[]
}

/** As what a version was trained on: `900 of 1,000 answered rows with their outcomes, at least 2 h old, answered by roses_v1.0.0 (900)`. */
export function servedText({ rows, predictions, versions, since, maturedMs }: ServedFacts): string {
  const by = Object.entries(versions).flatMap(([version, each]) =>
    each.rows === 0 ? [] : [`${version} (${groupedDigits(each.rows)})`],
  )
  const from = since === undefined ? '' : `, asked since ${since}`
  return `${groupedDigits(rows)} of ${groupedDigits(predictions)} answered rows with their outcomes, at least ${ageText(maturedMs)} old${from}, answered by ${by.join(', ')}`
}

/** An age in seconds below two minutes, in minutes below two hours, then in hours. */
export const ageText = (ms: number): string =>
  ms < 120_000
    ? `${Math.round(ms / 1_000)} s`
    : ms < 7_200_000
      ? `${Math.round(ms / 60_000)} min`
      : `${Math.round(ms / 3_600_000)} h`
