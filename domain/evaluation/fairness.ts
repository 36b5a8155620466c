/**
 * Judges fairness: compares all pairs of groups, with intervals. A limit outside of the interval is broken with certainty and blocks. Ten
 * equal groups differ by chance, so the level counts all pairs, rates and attributes. A limit that may be broken by chance warns only
 * where the groups differ with certainty: small groups are beyond it by chance in every report.
 */
import { fourDigits, ratioOf } from '../figures.ts'
import {
  differenceOfRates,
  meanError,
  normalQuantile,
  type RateInterval,
  rateInterval,
  ratioOfRates,
  studentTwoSidedQuantile,
  sumOf,
} from '@tenure/sequential'
import type { FairnessLimit, GroupMeasure } from './gate-metrics.ts'
import type { ScoredRows } from './scored-rows.ts'
import type { GatePolicy } from './policy.ts'
import { gateOf } from '../tasks/tasks.ts'

/**
 * Of the pair of groups with the largest difference; of those that break the limit with certainty, or else perhaps, or else have enough
 * rows, when there are any. Null when undefined, never 0.
 */
export interface Estimate {
  value: number | null
  low: number | null
  high: number | null
}

/**
 * - `doubtful`: groups differ with certainty, and by more than a limit perhaps by chance.
 * - `insufficient`: groups with too few rows are beyond a limit by chance, and no others can be judged.
 */
export type FairnessVerdict = 'ok' | 'insufficient' | 'doubtful' | 'blocked' | 'undefined'

/** The comparison of all groups by one measure. */
export interface FairnessMeasureRow {
  name: string
  limit: FairnessLimit
  /** The smallest over the largest value for `selectionRatio`, the largest minus the smallest one for others. */
  estimate: Estimate
  /** The groups with too few rows to judge. */
  fewRows: string[]
  verdict: FairnessVerdict
}

export interface GateFairnessRow {
  attribute: string
  /** Groups with too few rows are reported, but not judged. `values`: by measure, in their order; null without rows that count. */
  groups: { group: string; rows: number; values: (number | null)[]; judged: boolean }[]
  measures: FairnessMeasureRow[]
  /** The level of each interval, corrected for their number (Bonferroni). */
  confidence: number
  /** The worst of the measures. */
  verdict: FairnessVerdict
}

interface GroupedRows {
  attribute: string
  /** The group of each row. */
  values: readonly (string | null)[]
}

type Entities = readonly (string | number)[] | undefined

/**
 * A model whose groups are all within the limits is blocked with a probability of at most 1 − `confidence`. `classes`: the names of the
 * classes.
 */
export function judgeFairness(
  attributes: readonly GroupedRows[],
  challenger: ScoredRows,
  { fairness, confidence }: Pick<GatePolicy, 'fairness' | 'confidence'>,
  { entities, classes = [] }: { entities?: Entities; classes?: readonly string[] } = {},
): GateFairnessRow[] {
  const measures = gateOf(challenger.task).groupMeasures(challenger, classes)
  const counted = attributes.map(({ values }) => {
    const groups = groupMeans(values, measures).map((group) => ({
      ...group,
      judged: group.rows >= fairness.minRows,
    }))
    const members = new Map<string | null, number[]>()
    for (const { group, judged } of groups) if (judged) members.set(group, [])
    for (const [row, group] of values.entries()) members.get(group)?.push(row)
    return { groups, samples: measures.map((measure) => samplesOf(members, measure, entities)) }
  })
  const pairs = counted
    .flatMap(({ samples }) => samples)
    .reduce((sum, { length: n }) => sum + (n * (n - 1)) / 2, 0)
  const level = 1 - (1 - confidence) / Math.max(1, pairs)
  return attributes.map(({ attribute }, i) => {
    const { groups, samples } = counted[i]!
    const compared = measures.map(({ name, limit }, k): FairnessMeasureRow => {
      const { estimate, enough, verdict } = comparePairs(samples[k]!, level, limitsOf[limit](fairness[limit]))
      const few = groups.length < 2 ? [] : groups.filter(({ group }) => !enough.includes(group))
      return { name, limit, estimate, fewRows: few.map(({ group }) => group), verdict }
    })
    const verdict = worstFirst.find((each) => compared.some((measure) => measure.verdict === each))
    return { attribute, groups, measures: compared, confidence: level, verdict: verdict ?? 'undefined' }
  })
}

const worstFirst = ['blocked', 'doubtful', 'insufficient', 'ok', 'undefined'] as const

/** Twenty classes have 41 measures. */
const maxNamed = 3

/** The measures that decide the verdict of the attribute, at most three, the largest differences first. */
export function decidingMeasures({ measures, verdict }: GateFairnessRow): FairnessMeasureRow[] {
  const difference = ({ limit, estimate: { value } }: FairnessMeasureRow) =>
    value === null ? -1 : limit === 'selectionRatio' ? 1 - value : value
  return measures
    .filter((measure) => measure.verdict === verdict)
    .toSorted((one, other) => difference(other) - difference(one))
    .slice(0, maxNamed)
}

/** The verdict of an attribute with the figures that decide it, for a line of a page or a terminal. */
export function fairnessLine(row: GateFairnessRow): string {
  const figures = decidingMeasures(row).map((measure) =>
    measureText(measure, ({ value }) => fourDigits(value, '–')),
  )
  const named = row.verdict === 'undefined' ? '' : `; ${figures.join(', ')}`
  return `fairness by ${row.attribute}: ${fairnessText(row)}${named}`
}

/** The verdict in words; where nothing could be compared, with the reason. */
export function fairnessText({ verdict, groups }: Pick<GateFairnessRow, 'verdict' | 'groups'>): string {
  if (verdict !== 'undefined') return verdict
  if (groups.length === 0) return 'not judged, because no test row has a group'
  const judged = groups.filter((group) => group.judged)
  if (judged.length < 2)
    return `not judged, because ${judged.length === 0 ? 'no group has' : `only ${judged[0]!.group} has`} enough test rows`
  return 'not judged, because no two groups have values that can be compared'
}

/** A measure with its estimate, such as `recall of red: difference 0.21`. */
export const measureText = (
  { name, limit, estimate }: Pick<FairnessMeasureRow, 'name' | 'limit' | 'estimate'>,
  text: (estimate: Estimate) => string,
): string =>
  `${name}: ${limit === 'selectionRatio' ? 'ratio' : 'difference'} ${text(estimate)}` +
  (limit === 'errorDifference' ? ' standard deviations of the label' : '')

/** The mean of each measure in each group, by name of the group. */
export function groupMeans(
  groupOf: readonly (string | null)[],
  measures: readonly Pick<GroupMeasure, 'value' | 'counts'>[],
): { group: string; rows: number; values: (number | null)[] }[] {
  const sums = new Map<string, { rows: number; sums: number[]; counts: number[] }>()
  for (const [row, group] of groupOf.entries()) {
    if (group === null || group === undefined) continue
    const sum = sums.get(group) ?? { rows: 0, sums: measures.map(() => 0), counts: measures.map(() => 0) }
    sums.set(group, sum)
    sum.rows++
    for (const [k, { value, counts }] of measures.entries()) {
      if (counts?.(row) === false) continue
      sum.sums[k]! += value(row)
      sum.counts[k]!++
    }
  }
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([group, { rows, sums: totals, counts }]) => ({
      group,
      rows,
      values: totals.map((total, k) => finite(ratioOf(total, counts[k]!))),
    }))
}

/** A label without spread has no unit for errors. */
const finite = (value: number | null): number | null => (Number.isFinite(value) ? value : null)

/** What a group shows of a measure. */
interface Sample {
  group: string
  value: number
  rows: number
  /** The interval around the value, or around another one with as much chance in it; null when undefined. */
  around: (value: number, level: number) => RateInterval | null
}

function samplesOf(
  members: ReadonlyMap<string | null, readonly number[]>,
  { limit, value: valueOf, counts }: GroupMeasure,
  entities: Entities,
): Sample[] {
  return [...members].flatMap(([group, all]): Sample[] => {
    const rows = counts === undefined ? all : all.filter(counts)
    // One positive that is wrong is a rate of 0, which says nothing of the group.
    if (group === null || rows.length === 0 || (counts !== undefined && rows.length < minRateRows)) return []
    const values = Float64Array.from(rows, valueOf)
    const value = sumOf(values) / values.length
    if (!Number.isFinite(value)) return []
    const owners = entities && rows.map((row) => entities[row]!)
    const sample =
      limit === 'errorDifference' ? sampleOfErrors(values, owners) : sampleOfRate(values, value, owners)
    return [{ group, value, ...sample }]
  })
}

/** A true-positive rate, or a recall, of fewer rows is not judged. */
const minRateRows = 10

/** Student's interval of the mean; the rows of an entity count as one. */
function sampleOfErrors(values: Float64Array, owners: Entities): Pick<Sample, 'rows' | 'around'> {
  const error = meanError(values, owners)
  const draws = owners === undefined ? values.length : new Set(owners).size
  return {
    rows: values.length,
    around(value, level) {
      const t = studentTwoSidedQuantile(1 - level, draws - 1)
      if (t === null || error === null) return null
      return { value, low: value - t * error, high: value + t * error }
    },
  }
}

/** The interval of Clopper and Pearson for as many rows as are independent. */
function sampleOfRate(values: Float64Array, rate: number, owners: Entities): Pick<Sample, 'rows' | 'around'> {
  const { rows, entities } = independentRows(values, rate, owners)
  return {
    rows,
    around(value, level) {
      const certain = certainRows({ rows, entities }, level)
      return rateInterval(value * certain, certain, level)
    },
  }
}

interface IndependentRows {
  /** Fewer than there are where the rows of an entity are alike. */
  rows: number
  /** The entities that have shown how much they differ; absent where each draw counts by itself. */
  entities?: number
}

/** As many rows as have the standard error of the rate; as many as entities where the rate is 0 or 1 and shows none. */
function independentRows(values: Float64Array, share: number, owners: Entities): IndependentRows {
  if (owners === undefined) return { rows: values.length }
  const error = meanError(values, owners)
  const count = new Set(owners).size
  if (error === null || share === 0 || share === 1) return { rows: count }
  return { rows: Math.min(values.length, (share * (1 - share)) / error ** 2), entities: count }
}

/** Few entities do not show well how much they differ: the rows are fewer by Student's t over them (Korn and Graubard, 1998). */
function certainRows({ rows, entities }: IndependentRows, level: number): number {
  if (entities === undefined) return rows
  const [z, t] = [normalQuantile((1 + level) / 2), studentTwoSidedQuantile(1 - level, entities - 1)]
  return z === null || t === null ? 1 : Math.max(1, rows * (z / t) ** 2)
}

/** How two groups are compared, the one with the lower rate first, and when a value breaks the limit. */
interface Limit {
  compare: (lower: RateInterval, higher: RateInterval) => RateInterval | null
  /** The value of equal rates. */
  equal: number
  /** How far a value is beyond the limit. */
  excess: (value: number) => number
  /** The bound that is nearest to the limit where it is broken, and the other one. */
  nearest: 'low' | 'high'
  farthest: 'low' | 'high'
}

const ratioAtLeast = (limit: number): Limit => ({
  compare: ratioOfRates,
  equal: 1,
  excess: (value) => limit - value,
  nearest: 'high',
  farthest: 'low',
})
const differenceAtMost = (limit: number): Limit => ({
  compare: (lower, higher) => differenceOfRates(higher, lower),
  equal: 0,
  excess: (value) => value - limit,
  nearest: 'low',
  farthest: 'high',
})
const limitsOf: Readonly<Record<FairnessLimit, (limit: number) => Limit>> = {
  selectionRatio: ratioAtLeast,
  rateDifference: differenceAtMost,
  errorDifference: differenceAtMost,
}

interface Comparison {
  estimate: Estimate
  /** The groups with enough rows. */
  enough: string[]
  verdict: FairnessVerdict
}

interface MeasuredGroup {
  group: string
  value: number
  rows: number
  measured: RateInterval
  /** Around the value of all groups together. */
  common: RateInterval
}

function comparePairs(
  samples: readonly Sample[],
  level: number,
  { compare, equal, excess, nearest, farthest }: Limit,
): Comparison {
  const rows = sumOf(samples.map((sample) => sample.rows))
  const all = sumOf(samples.map((sample) => sample.value * sample.rows)) / rows
  const groups = samples
    .flatMap(({ around, ...sample }): MeasuredGroup[] => {
      const [measured, common] = [around(sample.value, level), around(all, level)]
      return measured === null || common === null ? [] : [{ ...sample, measured, common }]
    })
    .toSorted((one, other) => one.value - other.value)
  // Equal groups would be within the limit with certainty, so a difference of that size is one with certainty.
  const haveEnough = (one: MeasuredGroup, other: MeasuredGroup) => {
    const alike = compare(one.common, other.common)
    return alike === null || excess(alike[farthest]) <= 0
  }
  const largest = groups.toSorted((one, other) => other.rows - one.rows)[0]
  const enough = groups.filter((one) => haveEnough(one, largest!)).map(({ group }) => group)
  const rankOf = (compared: RateInterval, lower: MeasuredGroup, higher: MeasuredGroup): number => {
    if (excess(compared[nearest]) > 0) return ranks.certain
    const differs = excess(compared[nearest]) > excess(equal)
    if (differs && excess(compared.value) > 0) return ranks.doubtful
    return haveEnough(lower, higher) ? ranks.judged : ranks.few
  }
  // A thousand groups are half a million pairs, so none is kept but the worst.
  let worst: { compared: RateInterval; rank: number } | undefined
  for (const [i, lower] of groups.entries())
    for (let j = i + 1; j < groups.length; j++) {
      const higher = groups[j]!
      const compared = compare(lower.measured, higher.measured)
      if (compared === null) continue
      const rank = rankOf(compared, lower, higher)
      const isWorse =
        worst === undefined ||
        rank > worst.rank ||
        (rank === worst.rank && excess(compared.value) > excess(worst.compared.value))
      if (isWorse) worst = { compared, rank }
    }
  if (worst === undefined)
    return { estimate: { value: null, low: null, high: null }, enough, verdict: 'undefined' }
  const { compared: estimate, rank: found } = worst
  const isFew = found === ranks.few && excess(estimate.value) > 0
  return { estimate, enough, verdict: isFew ? 'insufficient' : verdictsByRank[found]! }
}

/** Of the pairs: those that break the limit with certainty count first, or else perhaps, or else those with enough rows. */
const ranks = { few: 0, judged: 1, doubtful: 2, certain: 3 }
const verdictsByRank = ['ok', 'ok', 'doubtful', 'blocked'] as const
