/**
 * Judges fairness in the gate: compares the two groups with the largest difference, with an interval. A limit that may be broken by
 * chance warns; a limit that is broken with certainty blocks.
 */
import { bootstrap, percentileInterval, type Statistic } from '../statistics/bootstrap.ts'
import { groupRates, type GroupRates } from '../metrics/fairness.ts'
import type { ScoredRows } from './metrics.ts'
import type { GatePolicy } from './policy.ts'
import { ratioOf } from '../figures.ts'

/** Null when undefined, never 0. */
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
  /** `doubtful`: a limit is broken, but the groups may be equal. */
  verdict: 'ok' | 'doubtful' | 'blocked' | 'undefined'
}

const nothing: Estimate = { value: null, low: null, high: null }

export function judgeFairness(
  attribute: string,
  values: readonly (string | null)[],
  challenger: ScoredRows,
  policy: Pick<GatePolicy, 'fairness' | 'resamples' | 'seed' | 'confidence'>,
  entities?: readonly (string | number)[],
): GateFairnessRow {
  const { selectionRatio: minRatio, rateDifference: maxDifference, minRows } = policy.fairness
  const all =
    challenger.task === 'binary'
      ? groupRates(values, Array.from(challenger.y), Array.from(challenger.predicted))
      : []
  const groups = all.map((group) => ({ ...group, judged: group.rows >= minRows }))
  const judged = groups.filter((group) => group.judged)
  const row: GateFairnessRow = {
    attribute,
    groups,
    selectionRatio: nothing,
    tprDifference: nothing,
    fprDifference: nothing,
    verdict: 'undefined',
  }
  if (judged.length < 2) return row

  const wanted = rates.map((rate) => {
    if (rate === 'selectionRate') return extremes(judged, rate)
    // One positive that is wrong makes a rate of 0 in every resample.
    const counted = countByGroup(values, countedFor(rate, challenger))
    return extremes(
      judged.filter(({ group }) => (counted.get(group) ?? 0) >= minRateRows),
      rate,
    )
  })
  const statistics: Statistic[] = wanted.map((pair, i) =>
    pair === null ? undefinedStatistic : compare(rates[i]!, pair, values, challenger),
  )
  const rows = challenger.y.length
  const { resamples, seed } = policy
  const drawn = bootstrap(statistics, rows, { resamples, seed, entities })
  const estimates = wanted.map((pair, i): Estimate => {
    if (pair === null) return nothing
    const { low, high } = percentileInterval(drawn[i]!, resamples, policy.confidence)
    return { value: pair.value, low, high }
  })
  const [selectionRatio, tprDifference, fprDifference] = estimates as [Estimate, Estimate, Estimate]
  const broken = [
    { breaks: below(selectionRatio.value, minRatio), certain: below(selectionRatio.high, 1) },
    { breaks: above(tprDifference.value, maxDifference), certain: above(tprDifference.low, 0) },
    { breaks: above(fprDifference.value, maxDifference), certain: above(fprDifference.low, 0) },
  ].filter(({ breaks }) => breaks)
  const found = { ...row, selectionRatio, tprDifference, fprDifference }
  if (broken.length > 0)
    return { ...found, verdict: broken.some(({ certain }) => certain) ? 'blocked' : 'doubtful' }
  return { ...found, verdict: estimates.some(({ value }) => value !== null) ? 'ok' : 'undefined' }
}

const below = (value: number | null, limit: number) => value !== null && value < limit
const above = (value: number | null, limit: number) => value !== null && value > limit

const rates = ['selectionRate', 'tpr', 'fpr'] as const
type Rate = (typeof rates)[number]

/** A true-positive (false-positive) rate of fewer positives (negatives) is not judged. */
const minRateRows = 10

/** Whether a row counts for a rate: all rows, the positives, or the negatives. */
const countedFor =
  (rate: Rate, { y }: ScoredRows) =>
  (row: number): boolean =>
    rate === 'selectionRate' || y[row] === (rate === 'tpr' ? 1 : 0)

function countByGroup(
  values: readonly (string | null)[],
  isCounted: (row: number) => boolean,
): Map<string, number> {
  const counts = new Map<string, number>()
  for (const [row, group] of values.entries())
    if (group !== null && isCounted(row)) counts.set(group, (counts.get(group) ?? 0) + 1)
  return counts
}

interface Extremes {
  low: string
  high: string
  value: number
}

/** The two groups with the largest difference, of those whose rate is defined; null with fewer than two. */
function extremes(groups: readonly GroupRates[], rate: Rate): Extremes | null {
  const sorted = groups
    .filter((group) => group[rate] !== null)
    .toSorted((one, other) => one[rate]! - other[rate]!)
  const [first, last] = [sorted[0], sorted.at(-1)]
  if (first === undefined || last === undefined || sorted.length < 2) return null
  const [low, high] = [first[rate]!, last[rate]!]
  const value = rate === 'selectionRate' ? ratioOf(low, high) : high - low
  return value === null ? null : { low: first.group, high: last.group, value }
}

const undefinedStatistic: Statistic = { kind: 'sums', columns: [], value: () => null }

function compare(
  rate: Rate,
  pair: Extremes,
  values: readonly (string | null)[],
  scored: ScoredRows,
): Statistic {
  const { y, predicted } = scored
  const counted = countedFor(rate, scored)
  const columns = [pair.low, pair.high].flatMap((group) => {
    const member = Float64Array.from(y, (_, i) => (values[i] === group && counted(i) ? 1 : 0))
    return [member.map((one, i) => one * predicted[i]!), member]
  })
  return {
    kind: 'sums',
    columns,
    value: (sums) => {
      const [low, high] = [ratioOf(sums[0]!, sums[1]!), ratioOf(sums[2]!, sums[3]!)]
      if (low === null || high === null) return null
      return rate === 'selectionRate' ? ratioOf(low, high) : high - low
    },
  }
}
