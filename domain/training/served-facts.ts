/** Describes the logged requests of a snapshot of served rows, for the lineage of the versions trained on it. */
import { groupedDigits } from '../figures.ts'

export interface ServedFacts {
  /** ISO 8601: the start of the period of the requests. Absent: the whole log. */
  since?: string
  /** The age from which a request counts, in milliseconds. */
  maturedMs: number
  /** Whether that age was estimated from the delays of outcomes. */
  isLearnt: boolean
  /** Predictions of the period that are old enough. */
  predictions: number
  /** Predictions with an outcome, which become rows. */
  rows: number
  /** Younger predictions. */
  young: number
  /** Predictions whose outcome is not a value of the label. */
  unreadable: number
  /** Predictions with an outcome whose inputs are no longer in the log. */
  removed: number
  /** By the version that made the prediction. */
  versions: Record<string, ServedVersion>
}

export interface ServedVersion {
  /** Predictions that are old enough. */
  predictions: number
  rows: number
  /** Features of the model file that the requests to this version lack. */
  lacks?: string[]
  /** Features of the model file of which the log has digests only, so that the requests are no rows. */
  digested?: string[]
}

/** The text for a lineage: `900 of 1,000 answered rows with their outcomes, at least 2 h old, answered by roses_v1.0.0 (900)`. */
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
