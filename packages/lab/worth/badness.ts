/**
 * Judges whether a version is bad: on the clean rows of its first week, compared with versions of the calm year that were trained as of
 * that week. Trainings differ by chance, so a single one is no measure.
 */
import { auc, delong, sumOf } from '@tenure/sequential'

import type { StreamRow, YearStream } from './streams.ts'
import { featuresOf, snapshotOf, trainVersion, type PlayedVersion } from './versions.ts'

/** Answers of calm-year versions on the clean rows of the week at whose start they were trained. */
export interface CalmWeek {
  /** The weekly version that the contenders of the calm year use. */
  weekly: Float32Array
  /** Versions with other seeds and other samples of the same rows. */
  again: Float32Array[]
}

/** Trainings of a week with other seeds. */
const timesAgain = 8
/** AUC difference from which a version is bad. */
export const badBy = 0.01
/** z-value of the one-sided interval of 95 %. */
export const z95 = 1.645

export async function playCalmWeek(
  stream: YearStream,
  { week, table, clean }: { week: number; table: readonly StreamRow[]; clean: readonly StreamRow[] },
  weekly: PlayedVersion,
): Promise<CalmWeek> {
  const rows = featuresOf(clean)
  const again: Float32Array[] = []
  for (let salt = 1; salt <= timesAgain; salt++) {
    const snapshot = snapshotOf(table, week * stream.weekMs, stream, salt * 1_000_003)
    const version = await trainVersion(stream, snapshot, `c${week}.${salt}`, 1 + 100 * salt)
    again.push(version.answer(rows))
  }
  return { weekly: weekly.answer(rows), again }
}

export interface JudgedVersion {
  /** Worse by 0.01 than the weekly version of the calm year. */
  thanOne: boolean
  /** Worse by 0.01 than the mean of the versions with other seeds. */
  thanMean: boolean
  /** The same with certainty: the one-sided interval of 95 % of the difference lies beyond 0.01. */
  certain: boolean
  belowOne: number
  below: number
  error: number
}

export function judgeVersion(
  version: PlayedVersion,
  clean: readonly StreamRow[],
  calm: CalmWeek,
): JudgedVersion {
  const y = clean.map(({ label }) => label)
  const answers = version.answer(featuresOf(clean))
  const own = auc(y, answers) ?? 0
  const pairs = calm.again.map((each) => delong(y, each, answers))
  const others = pairs.map(({ auc1 }) => auc1 ?? 0)
  const below = meanOf(others) - own
  // The rows, and the seeds of the others.
  const error = Math.sqrt(
    meanOf(pairs.map(({ standardError }) => (standardError ?? 0) ** 2)) + varianceOf(others) / others.length,
  )
  const belowOne = (auc(y, calm.weekly) ?? 0) - own
  return {
    thanOne: belowOne > badBy,
    thanMean: below > badBy,
    certain: below - z95 * error > badBy,
    belowOne,
    below,
    error,
  }
}

const meanOf = (values: readonly number[]): number => sumOf(values) / values.length

function varianceOf(values: readonly number[]): number {
  const mean = meanOf(values)
  return sumOf(values.map((value) => (value - mean) ** 2)) / (values.length - 1)
}
