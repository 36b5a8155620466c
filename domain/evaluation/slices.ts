/**
 * Judges declared slices of the test rows: a better average must not hide a slice that became worse. Holm's correction keeps fifty slices
 * from blocking a good model by chance. For several numbers per row, each number is judged separately, because the largest one would
 * dominate their mean.
 */
import {
  bootstrap,
  delong,
  delongByEntity,
  holm,
  mcnemarP,
  meanError,
  normalTwoSided,
  pointValue,
  studentTwoSided,
  sumOf,
} from '@tenure/sequential'
import { higherIsBetter, pick, rowLosses, scoresOfNumbers, statisticOf } from './metrics.ts'
import { differenceOf } from './metric-table.ts'
import type { GatePolicy } from './policy.ts'
import { percentText } from '../figures.ts'
import type { ScoredRows } from './scored-rows.ts'
import type { SliceMetric } from './gate-metrics.ts'
import { gateOf } from '../tasks/tasks.ts'

export interface GateSliceRow {
  /** The name of the slice; with the name of the number for several numbers per row: "evening (arrival_delay)". */
  name: string
  rows: number
  /** Null when the task has no positive class. */
  positives: number | null
  champion: number | null
  challenger: number | null
  /** The challenger's value where each row counts as one, as the monitor measures it; absent where rows have no weights. */
  unweighted?: number | null
  /** The challenger's gain; relative to the champion's value for metrics without a fixed scale. */
  delta: number | null
  p: number | null
  adjustedP: number | null
  verdict: 'ok' | 'blocked' | 'insufficient' | 'missing'
}

export interface RowSlice {
  name: string
  /** Indices of test rows. */
  rows: ArrayLike<number>
}

/** The name of one number in a slice. */
export const sliceNameOf = (slice: string, number: string): string => `${slice} (${number})`

/** The loss of a slice that is allowed: `0.02`, or `2 %` of the reference for metrics where lower is better. */
export const sliceLimitText = ({ metric, points }: GatePolicy['slices']): string =>
  higherIsBetter(metric) ? String(points) : percentText(points)

const orderOfVerdicts: Readonly<Record<GateSliceRow['verdict'], number>> = {
  blocked: 0,
  missing: 0,
  ok: 1,
  insufficient: 2,
}

/**
 * Orders slices: blocked and missing ones, then the largest loss, and those without enough rows at the end. Without a champion the value
 * counts, if the metric is known.
 */
export function worstSlicesFirst(slices: readonly GateSliceRow[], metric?: SliceMetric): GateSliceRow[] {
  const valueOf = ({ challenger }: GateSliceRow) =>
    challenger === null || metric === undefined ? Infinity : higherIsBetter(metric) ? challenger : -challenger
  return slices.toSorted(
    (one, other) =>
      orderOfVerdicts[one.verdict] - orderOfVerdicts[other.verdict] ||
      (one.delta ?? Infinity) - (other.delta ?? Infinity) ||
      valueOf(one) - valueOf(other),
  )
}

type SlicePolicy = Pick<GatePolicy, 'slices' | 'evidence' | 'targets'>

export function judgeSlices(
  slices: readonly RowSlice[],
  challenger: ScoredRows,
  champion: ScoredRows | null,
  policy: SlicePolicy,
  entities?: readonly (string | number)[],
): GateSliceRow[] {
  const rows = slices.flatMap((slice) => compareSlice(slice, challenger, champion, policy, entities))
  const adjusted = holm(rows.map((row) => (row.verdict === 'ok' ? row.p : null)))
  return rows.map((row, i) => {
    const adjustedP = adjusted[i]!
    const worse = row.delta !== null && row.delta < -policy.slices.points
    const certain = adjustedP !== null && adjustedP < policy.slices.alpha
    return { ...row, adjustedP, verdict: row.verdict === 'ok' && worse && certain ? 'blocked' : row.verdict }
  })
}

/** Removes indices outside the rows. */
export function membersOf({ rows }: RowSlice, all: number): Uint32Array {
  const members = new Uint32Array(rows.length)
  let count = 0
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!
    if (Number.isInteger(row) && row >= 0 && row < all) members[count++] = row
  }
  return members.subarray(0, count)
}

function compareSlice(
  slice: RowSlice,
  challenger: ScoredRows,
  champion: ScoredRows | null,
  policy: SlicePolicy,
  entities?: readonly (string | number)[],
): GateSliceRow[] {
  const members = membersOf(slice, challenger.y.length)
  const own = entities === undefined ? undefined : Array.from(members, (row) => entities[row]!)
  const picked = pick(challenger, members)
  const before = champion === null ? null : pick(champion, members)
  const { targets } = policy
  // A slice without rows is one finding, not one per number.
  if (targets === undefined || members.length === 0)
    return [compareRows(slice.name, picked, before, policy, own)]
  const olds = before === null ? [] : scoresOfNumbers(before)
  return scoresOfNumbers(picked).map((part, k) => {
    const old = before?.parts.findIndex(({ name }) => name === targets[k]) ?? -1
    return compareRows(sliceNameOf(slice.name, targets[k]!), part, olds[old] ?? null, policy, own)
  })
}

function compareRows(
  name: string,
  part: ScoredRows,
  before: ScoredRows | null,
  policy: SlicePolicy,
  own: readonly (string | number)[] | undefined,
): GateSliceRow {
  const { metric } = policy.slices
  const rows = part.y.length
  const positives = gateOf(part.task).hasPositives ? part.y.reduce((sum, label) => sum + label, 0) : null
  const value = pointValue(statisticOf(metric, part), rows)
  const old = before === null ? null : pointValue(statisticOf(metric, before), rows)
  const { sliceRows, slicePositives } = policy.evidence
  const enough = rows >= sliceRows && (positives === null || positives >= slicePositives)
  const p = before === null || !enough ? null : sliceP(metric, part, before, own)
  // The rows of a single entity say nothing of others.
  const isSingle = own !== undefined && enough && before !== null && p === null
  return {
    name,
    rows,
    positives,
    champion: old,
    challenger: value,
    ...(part.weights !== undefined && {
      unweighted: pointValue(statisticOf(metric, { ...part, weights: undefined }), rows),
    }),
    delta: gain(metric, value, old),
    p,
    adjustedP: null,
    verdict: rows === 0 ? 'missing' : enough && !isSingle ? 'ok' : 'insufficient',
  }
}

function gain(metric: SliceMetric, value: number | null, old: number | null): number | null {
  if (value === null || old === null) return null
  if (higherIsBetter(metric)) return value - old
  return old > 0 ? (old - value) / old : value > old ? -1 : 0
}

/** Two-sided p for "no difference" on the slice. */
function sliceP(
  metric: SliceMetric,
  challenger: ScoredRows,
  champion: ScoredRows,
  entities?: readonly (string | number)[],
): number | null {
  if (challenger.weights !== undefined) return weightedP(metric, challenger, champion, entities)
  if (metric === 'auc' && entities !== undefined)
    return delongByEntity(challenger.y, challenger.score, champion.score, entities)
  if (metric === 'auc') {
    const { status, pTwoSided, auc1, auc2 } = delong(challenger.y, challenger.score, champion.score)
    // Rankings without variance differ with certainty, or are equal.
    return status === 'no_variance' ? (auc1 === auc2 ? 1 : 0) : pTwoSided
  }
  const [a, b] = [rowLosses(metric, challenger), rowLosses(metric, champion)]
  if (a === null || b === null) return null
  const differences = a.map((value, i) => value - b[i]!)
  if (metric === 'accuracy' && entities === undefined) {
    const won = differences.filter((difference) => difference > 0).length
    return mcnemarP(differences.filter((difference) => difference < 0).length, won)
  }
  return meanIsZeroP(differences, entities)
}

/** The resamples of a standard error. */
const resamples = 200

/** The test of a weighted gain by its standard error over resampled rows, or over entities. */
function weightedP(
  metric: SliceMetric,
  challenger: ScoredRows,
  champion: ScoredRows,
  entities?: readonly (string | number)[],
): number | null {
  const statistic = differenceOf({ metric, challenger, reference: champion })
  const rows = challenger.y.length
  const value = pointValue(statistic, rows)
  const [drawn = new Float64Array(0)] = bootstrap([statistic], rows, { resamples, seed: 1, entities })
  const draws = entities === undefined ? rows : new Set(entities).size
  if (value === null || drawn.length < 0.95 * resamples || draws < 2) return null
  const mean = sumOf(drawn) / drawn.length
  const error = Math.sqrt(sumOf(drawn.map((each) => (each - mean) ** 2)) / (drawn.length - 1))
  if (error === 0) return value === 0 ? 1 : 0
  return studentTwoSided(value / error, draws - 1)
}

/** Normal test of a mean difference; with entities Student's, because they may be few and the rows of one count as one observation. */
function meanIsZeroP(differences: Float64Array, entities?: readonly (string | number)[]): number | null {
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length
  const error = meanError(differences, entities)
  if (error === null) return null
  if (error === 0) return mean === 0 ? 1 : 0 // all rows changed alike
  return entities === undefined
    ? normalTwoSided(mean / error)
    : studentTwoSided(mean / error, new Set(entities).size - 1)
}
