/**
 * Judges fairness: compares all pairs of groups, with intervals. A limit outside of the interval is broken with certainty and blocks. Ten
 * equal groups differ by chance, so the level counts all pairs, rates and attributes. A limit that may be broken by chance warns only
 * where the groups differ with certainty: small groups are beyond it by chance in every report.
 */
import { groupRates, type GroupRates } from '../metrics/fairness.ts'
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

export interface GateFairnessRow {
  attribute: string
  /** Groups with too few rows are reported, but not judged. */
  groups: (GroupRates & { judged: boolean })[]
  /** Smallest over largest selection rate. */
  selectionRatio: Estimate
  /** Largest minus smallest true-positive rate. */
  tprDifference: Estimate
  /** Largest minus smallest false-positive rate. */
  fprDifference: Estimate
  /** The groups with too few rows to judge, by rate. */
  fewRows: Record<Rate, string[]>
  /** The level of each interval, corrected for their number (Bonferroni). */
  confidence: number
  /**
   * - `doubtful`: groups differ with certainty, and by more than a limit perhaps by chance.
   * - `insufficient`: groups with too few rows are beyond a limit by chance, and no others can be judged.
   */
  verdict: 'ok' | 'insufficient' | 'doubtful' | 'blocked' | 'undefined'
}

const ratesOfGroup = ['selectionRate', 'tpr', 'fpr'] as const
type Rate = (typeof ratesOfGroup)[number]

interface GroupedRows {
  attribute: string
  /** The group of each row. */
  values: readonly (string | null)[]
}

type Entities = readonly (string | number)[] | undefined

/** A model whose groups are all within the limits is blocked with a probability of at most 1 − `confidence`. */
export function judgeFairness(
  attributes: readonly GroupedRows[],
  challenger: ScoredRows,
  { fairness, confidence }: Pick<GatePolicy, 'fairness' | 'confidence'>,
  entities?: Entities,
): GateFairnessRow[] {
  const counted = attributes.map(({ values }) => countRates(values, challenger, fairness.minRows, entities))
  const pairs = counted
    .flatMap(({ rates }) => rates)
    .reduce((sum, { length: n }) => sum + (n * (n - 1)) / 2, 0)
  const level = 1 - (1 - confidence) / Math.max(1, pairs)
  return attributes.map(({ attribute }, i) => {
    const { groups, rates } = counted[i]!
    const [selection, tpr, fpr] = rates.map((shares, k) =>
      comparePairs(
        shares.map((share) => ({ ...share, rows: certainRows(share, level) })),
        level,
        k === 0 ? ratioWithin(fairness) : differenceWithin(fairness),
      ),
    ) as [Comparison, Comparison, Comparison]
    const verdicts = [selection, tpr, fpr].map(({ verdict }) => verdict)
    const fewOf = ({ enough }: Comparison) =>
      groups.length < 2 ? [] : groups.flatMap(({ group }) => (enough.includes(group) ? [] : [group]))
    return {
      attribute,
      groups,
      selectionRatio: selection.estimate,
      tprDifference: tpr.estimate,
      fprDifference: fpr.estimate,
      fewRows: { selectionRate: fewOf(selection), tpr: fewOf(tpr), fpr: fewOf(fpr) },
      confidence: level,
      verdict: worstFirst.find((verdict) => verdicts.includes(verdict))!,
    }
  })
}

const worstFirst = ['blocked', 'doubtful', 'insufficient', 'ok', 'undefined'] as const

interface Share {
  group: string
  value: number
  /** The independent rows: fewer than there are where the rows of an entity are alike. */
  rows: number
  /** The entities that have shown how much they differ; absent where each draw counts by itself. */
  entities?: number
}

/** The verdict in words; where nothing could be compared, with the reason. */
export function fairnessText({ verdict, groups }: GateFairnessRow): string {
  if (verdict !== 'undefined') return verdict
  if (groups.length === 0)
    return 'not judged, because no test row has both a group and an answer of yes or no'
  const judged = groups.filter((group) => group.judged)
  if (judged.length < 2)
    return `not judged, because ${judged.length === 0 ? 'no group has' : `only ${judged[0]!.group} has`} enough test rows`
  return 'not judged, because no two groups have rates that can be compared'
}

/** The rates of the judged groups: selection, true positives, false positives. */
function countRates(
  values: readonly (string | null)[],
  scored: ScoredRows,
  minRows: number,
  entities: Entities,
): { groups: GateFairnessRow['groups']; rates: Share[][] } {
  const { task, y, predicted } = scored
  const all = gateOf(task).hasPositives ? groupRates(values, Array.from(y), Array.from(predicted)) : []
  const groups = all.map((group) => ({ ...group, judged: group.rows >= minRows }))
  const members = new Map<string | null, number[]>()
  for (const { group, judged } of groups) if (judged) members.set(group, [])
  for (const [row, group] of values.entries()) members.get(group)?.push(row)
  const sharesOf = (rate: Rate) =>
    groups.flatMap((group): Share[] => {
      const value = group[rate]
      if (!group.judged || value === null) return []
      const rows = members
        .get(group.group)!
        .filter((row) => rate === 'selectionRate' || y[row] === (rate === 'tpr' ? 1 : 0))
      // One positive that is wrong is a rate of 0, which says nothing of the group.
      if (rate !== 'selectionRate' && rows.length < minRateRows) return []
      return [{ group: group.group, value, ...independentRows(rows, value, scored, entities) }]
    })
  return { groups, rates: ratesOfGroup.map(sharesOf) }
}

/** A true-positive (false-positive) rate of fewer positives (negatives) is not judged. */
const minRateRows = 10

/** As many rows as have the standard error of the rate; as many as entities where the rate is 0 or 1 and shows none. */
function independentRows(
  rows: readonly number[],
  share: number,
  { predicted }: ScoredRows,
  entities: Entities,
): Pick<Share, 'rows' | 'entities'> {
  if (entities === undefined) return { rows: rows.length }
  const owners = rows.map((row) => entities[row]!)
  const error = meanError(
    Uint8Array.from(rows, (row) => predicted[row]!),
    owners,
  )
  const count = new Set(owners).size
  if (error === null || share === 0 || share === 1) return { rows: count }
  return { rows: Math.min(rows.length, (share * (1 - share)) / error ** 2), entities: count }
}

/** Few entities do not show well how much they differ: the rows are fewer by Student's t over them (Korn and Graubard, 1998). */
function certainRows({ rows, entities }: Share, level: number): number {
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

const ratioWithin = ({ selectionRatio }: GatePolicy['fairness']): Limit => ({
  compare: ratioOfRates,
  equal: 1,
  excess: (value) => selectionRatio - value,
  nearest: 'high',
  farthest: 'low',
})
const differenceWithin = ({ rateDifference }: GatePolicy['fairness']): Limit => ({
  compare: (lower, higher) => differenceOfRates(higher, lower),
  equal: 0,
  excess: (value) => value - rateDifference,
  nearest: 'low',
  farthest: 'high',
})

interface Comparison {
  estimate: Estimate
  /** The groups with enough rows. */
  enough: string[]
  verdict: GateFairnessRow['verdict']
}

interface MeasuredShare extends Share {
  measured: RateInterval
  /** Of as many rows with the rate of all groups together. */
  common: RateInterval
}

function comparePairs(
  shares: readonly Share[],
  level: number,
  { compare, equal, excess, nearest, farthest }: Limit,
): Comparison {
  const rows = sumOf(shares.map((share) => share.rows))
  const rate = sumOf(shares.map((share) => share.value * share.rows)) / rows
  const groups = shares
    .flatMap((share): MeasuredShare[] => {
      const measured = rateInterval(share.value * share.rows, share.rows, level)
      const common = rateInterval(rate * share.rows, share.rows, level)
      return measured === null || common === null ? [] : [{ ...share, measured, common }]
    })
    .toSorted((one, other) => one.value - other.value)
  // Equal rates would be within the limit with certainty, so a difference of that size is one with certainty.
  const haveEnough = (one: MeasuredShare, other: MeasuredShare) => {
    const alike = compare(one.common, other.common)
    return alike === null || excess(alike[farthest]) <= 0
  }
  const largest = groups.toSorted((one, other) => other.rows - one.rows)[0]
  const enough = groups.filter((one) => haveEnough(one, largest!)).map(({ group }) => group)
  const rankOf = (compared: RateInterval, lower: MeasuredShare, higher: MeasuredShare): number => {
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
