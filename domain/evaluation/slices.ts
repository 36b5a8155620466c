/**
 * Judges declared slices of the test rows: a better average must not hide a slice that became worse. Each is tested for H0 "the loss is at
 * most the limit", however few its rows are: a floor of rows excuses missing evidence, never certain harm. Holm's correction keeps fifty
 * slices from blocking a good model by chance. For several numbers per row, each number is judged separately, because the largest one
 * would dominate their mean.
 */
import {
  bootstrap,
  delongByEntity,
  holm,
  meanAboveZero,
  ownersOf,
  pointValue,
  studentTwoSided,
  studentTwoSidedQuantile,
  sumByUnit,
  sumOf,
} from '@tenure/sequential'
import { higherIsBetter, pick, rowLosses, scoresOfNumbers, statisticOf } from './metrics.ts'
import { differenceOf } from './metric-table.ts'
import type { GatePolicy } from './policy.ts'
import { metricText, percentText } from '../figures.ts'
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
  /** Of H0 "the loss is at most the limit"; in earlier reports of H0 "no difference". */
  p: number | null
  adjustedP: number | null
  /** The smallest loss that these rows could have proven, in the unit of `delta`; null where none, absent in earlier reports. */
  provable?: number | null
  /** `insufficient`: no loss is proven, and the rows are below the floor of the policy. */
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

/** Says which loss the rows of a slice could have proven. */
export const provableText = (
  { provable }: Pick<GateSliceRow, 'provable'>,
  { metric }: GatePolicy['slices'],
): string =>
  provable == null
    ? 'no loss could be proven'
    : `only a loss of ${higherIsBetter(metric) ? metricText(provable) : percentText(provable)} or more could be proven`

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
  const tests = slices.length * Math.max(1, policy.targets?.length ?? 0)
  const judged = { ...policy, level: policy.slices.alpha / tests }
  const rows = slices.flatMap((slice) => compareSlice(slice, challenger, champion, judged, entities))
  const adjusted = holm(rows.map(({ p }) => p))
  return rows.map((row, i) => {
    const adjustedP = adjusted[i]!
    const isCertain = adjustedP !== null && adjustedP < policy.slices.alpha
    return { ...row, adjustedP, verdict: isCertain ? 'blocked' : row.verdict }
  })
}

/** `level`: of one slice among all, for what its rows could have proven. */
type JudgedPolicy = SlicePolicy & { level: number }

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
  policy: JudgedPolicy,
  entities?: readonly (string | number)[],
): GateSliceRow[] {
  const members = membersOf(slice, challenger.y.length)
  const own = entities === undefined ? undefined : Array.from(members, (row) => entities[row]!)
  const picked = pick(challenger, members)
  const before = champion === null ? null : pick(champion, members)
  const { targets } = policy
  // A slice without rows is one finding, not one per number.
  if (targets === undefined || members.length === 0)
    return [compareRows(slice.name, picked, before, champion, policy, own)]
  const olds = before === null ? [] : scoresOfNumbers(before)
  const wholes = champion === null ? [] : scoresOfNumbers(champion)
  return scoresOfNumbers(picked).map((part, k) => {
    const old = before?.parts.findIndex(({ name }) => name === targets[k]) ?? -1
    const name = sliceNameOf(slice.name, targets[k]!)
    return compareRows(name, part, olds[old] ?? null, wholes[old] ?? null, policy, own)
  })
}

/** `whole`: the champion on all test rows. */
function compareRows(
  name: string,
  part: ScoredRows,
  before: ScoredRows | null,
  whole: ScoredRows | null,
  policy: JudgedPolicy,
  entities: readonly (string | number)[] | undefined,
): GateSliceRow {
  const { metric, points } = policy.slices
  const rows = part.y.length
  const positives = gateOf(part.task).hasPositives ? part.y.reduce((sum, label) => sum + label, 0) : null
  const value = pointValue(statisticOf(metric, part), rows)
  const old = before === null ? null : pointValue(statisticOf(metric, before), rows)
  const { sliceRows, slicePositives } = policy.evidence
  const isEnough = rows >= sliceRows && (positives === null || positives >= slicePositives)
  const pair = { metric, points, challenger: part, champion: before, whole, entities, isEnough }
  const test = old === null || value === null ? null : testOf(pair, old, policy.level)
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
    p: test?.p ?? null,
    adjustedP: null,
    provable: test?.provable ?? null,
    // Without a test nothing is judged: the rows of a single entity say nothing of others.
    verdict: rows === 0 ? 'missing' : isEnough && (before === null || test !== null) ? 'ok' : 'insufficient',
  }
}

function gain(metric: SliceMetric, value: number | null, old: number | null): number | null {
  if (value === null || old === null) return null
  if (higherIsBetter(metric)) return value - old
  return old > 0 ? (old - value) / old : value > old ? -1 : 0
}

interface SlicePair {
  metric: SliceMetric
  points: number
  challenger: ScoredRows
  champion: ScoredRows | null
  whole: ScoredRows | null
  entities: readonly (string | number)[] | undefined
  /** Whether the rows reach the floor of the policy. */
  isEnough: boolean
}

interface SliceTest {
  p: number
  provable: number | null
}

/** Tests H0 "the loss is at most the limit". Null where the rows do not show how much they vary. */
function testOf(pair: SlicePair, old: number, level: number): SliceTest | null {
  const { metric, points } = pair
  if (metric === 'auc') return aucTest(pair, level)
  const excess = excessOf(pair)
  if (excess === null || excess.draws.length < 2) return null
  // Below the floor the betting test keeps its level for any bounded loss; above it, the normal one needs half of the rows.
  const { p, critical } = pair.isEnough ? meanTest(excess.draws, level) : betTest(excess, level)
  if (critical === null) return { p, provable: null }
  const more = critical / excess.rows
  if (higherIsBetter(metric)) return { p, provable: points + more }
  if (old === 0) return { p, provable: null }
  return {
    p,
    provable: metric === 'rmse' ? Math.sqrt((1 + points) ** 2 + more / old ** 2) - 1 : points + more / old,
  }
}

/**
 * By how much the loss of each draw, a row or an entity, is above the limit: weighted sums, whose mean is at most 0 under H0.
 * `largest`: what a draw can be below 0.
 */
function excessOf({ metric, points, challenger, champion, whole, entities }: SlicePair): {
  draws: Float64Array
  largest: number
  /** By which the sum of the draws is a mean over rows, for each draw. */
  rows: number
} | null {
  if (champion === null || whole === null) return null
  const { weights } = challenger
  const [own, old] = [rowLosses(metric, challenger), rowLosses(metric, champion)]
  if (own === null || old === null) return null
  const isHigher = higherIsBetter(metric)
  const factor = metric === 'rmse' ? (1 + points) ** 2 : 1 + points
  const weightOf = (row: number) => weights?.[row] ?? 1
  const excess = Float64Array.from(
    own,
    (loss, row) => weightOf(row) * (isHigher ? old[row]! - loss - points : loss - factor * old[row]!),
  )
  const owners = entities && ownersOf(entities)
  const sums = (values: Float64Array) => (owners === undefined ? values : sumByUnit(values, owners))
  const sizes = sums(Float64Array.from(own, (_, row) => weightOf(row)))
  const most = isHigher ? 1 + points : factor * mostOf(metric, whole)
  return {
    draws: sums(excess),
    largest: most * sizes.reduce((a, b) => Math.max(a, b), 0),
    rows: sumOf(sizes) / sizes.length,
  }
}

/** The largest loss of a row: of a loss without bounds, the champion's largest on all test rows. */
function mostOf(metric: SliceMetric, whole: ScoredRows): number {
  if (metric === 'brier') return whole.classes > 2 ? 2 : 1
  return (rowLosses(metric, whole) ?? new Float64Array()).reduce((a, b) => Math.max(a, b), 0)
}

interface MeanTest {
  p: number
  /** The mean that would have been proven, with the spread of these draws; null where none. */
  critical: number | null
}

/** The probability that draws without any variance go one way by chance, where the share of such draws is not known. */
const unvaried = (draws: number): number => 0.5 ** draws

/** P(T > t) of Student. */
function upperTail(t: number, dof: number): number {
  const p = (studentTwoSided(t, dof) ?? 1) / 2
  return t > 0 ? p : 1 - p
}

/** The t with P(T > t) = level. */
const criticalT = (level: number, dof: number): number | null => studentTwoSidedQuantile(2 * level, dof)

function errorTest(excess: number, { error, dof }: { error: number; dof: number }, level: number): MeanTest {
  if (!(error > 1e-10)) return { p: excess > 0 ? unvaried(dof + 1) : 1, critical: null }
  const t = criticalT(level, dof)
  return { p: upperTail(excess / error, dof), critical: t === null ? null : t * error }
}

function meanTest(draws: Float64Array, level: number): MeanTest {
  const mean = sumOf(draws) / draws.length
  const squares = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0)
  const dof = draws.length - 1
  return errorTest(mean, { error: Math.sqrt(squares / dof / draws.length), dof }, level)
}

/** A draw above `largest` counts as `largest`, so that no single row is certain. */
function betTest({ draws, largest }: { draws: Float64Array; largest: number }, level: number): MeanTest {
  if (!(largest > 0)) return { p: 1, critical: null }
  const logEAt = (shift: number) => {
    const evidence = meanAboveZero()
    for (const draw of draws) evidence.add(Math.max(-1, Math.min(1, (draw + shift) / largest)))
    return evidence.logE()
  }
  const mean = sumOf(draws) / draws.length
  const needed = -Math.log(level)
  let [low, high] = [-2 * largest, 2 * largest]
  const p = Math.min(1, Math.exp(-logEAt(0)))
  if (logEAt(high) < needed) return { p, critical: null }
  for (let i = 0; i < 40; i++) {
    const middle = (low + high) / 2
    if (logEAt(middle) < needed) low = middle
    else high = middle
  }
  const critical = mean + high
  return { p, critical: critical < largest ? critical : null }
}

/** DeLong's error, with as many degrees of freedom as the rarer class has draws: it keeps its level from two rows of each class on. */
function aucTest({ points, challenger, champion, entities }: SlicePair, level: number): SliceTest | null {
  if (champion === null) return null
  const found =
    challenger.weights === undefined
      ? delongByEntity(challenger.y, challenger.score, champion.score, entities)
      : weightedAuc(challenger, champion, entities)
  if (found === null) return null
  const { p, critical } = errorTest(-found.difference - points, found, level)
  const provable = critical === null ? null : points + critical
  return { p, provable: provable !== null && provable < 1 ? provable : null }
}

/** The resamples of a standard error. */
const resamples = 200

/** The difference of weighted AUCs, with its standard error over resampled rows, or over entities. */
function weightedAuc(
  challenger: ScoredRows,
  champion: ScoredRows,
  entities?: readonly (string | number)[],
): { difference: number; error: number; dof: number } | null {
  const statistic = differenceOf({ metric: 'auc', challenger, reference: champion })
  const rows = challenger.y.length
  const difference = pointValue(statistic, rows)
  const [drawn = new Float64Array(0)] = bootstrap([statistic], rows, { resamples, seed: 1, entities })
  const drawsOf = (label: number) => {
    const members = Array.from({ length: rows }, (_, row) => row).filter((row) => challenger.y[row] === label)
    return new Set(members.map((row) => entities?.[row] ?? row)).size
  }
  const dof = Math.min(drawsOf(1), drawsOf(0)) - 1
  if (difference === null || drawn.length < 0.95 * resamples || dof < 1) return null
  const mean = sumOf(drawn) / drawn.length
  const squares = sumOf(drawn.map((each) => (each - mean) ** 2))
  return { difference, error: Math.sqrt(squares / (drawn.length - 1)), dof }
}
