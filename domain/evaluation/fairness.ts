/**
 * Fairness as the gate sees it: the two groups treated most differently, with an interval of their difference. A
 * limit that is broken by chance on a hundred rows warns; one that is broken and certain blocks.
 */

import { bootstrap, percentileInterval, type Statistic } from '../statistics/bootstrap.ts'
import { groupRates, type GroupRates } from '../metrics/fairness.ts'
import type { ScoredRows } from './metrics.ts'
import type { GatePolicy } from './policy.ts'
import { ratioOf } from '../metrics/metrics.ts'

/** Null where undefined, never 0. */
export interface Estimate {
  value: number | null
  low: number | null
  high: number | null
}

export interface GateFairnessRow {
  attribute: string
  /** Groups with too few rows are reported and not judged. */
  groups: (GroupRates & { judged: boolean })[]
  /** Smallest over largest selection rate. */
  selectionRatio: Estimate
  /** Largest minus smallest true-positive rate. */
  tprDifference: Estimate
  /** Largest minus smallest false-positive rate. */
  fprDifference: Estimate
  /** `doubtful`: a limit is broken, but the groups could still be equal. */
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
  const { selectionRatio: least, rateDifference: most, minRows } = policy.fairness
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

  const wanted = (['selectionRate', 'tpr', 'fpr'] as const).map((rate) => extremes(judged, rate))
  const statistics: Statistic[] = wanted.map((pair, i) =>
    pair === null ? undefinedStatistic : compare(rates[i]!, pair, values, challenger),
  )
  const rows = challenger.y.length
  const drawn = bootstrap(statistics, rows, {
    resamples: policy.resamples,
    seed: policy.seed,
    ...(entities && { entities }),
  })
  const estimates = wanted.map((pair, i): Estimate => {
    if (pair === null) return nothing
    const { low, high } = percentileInterval(drawn[i]!, policy.resamples, policy.confidence)
    return { value: pair.value, low, high }
  })
  const [selectionRatio, tprDifference, fprDifference] = estimates as [Estimate, Estimate, Estimate]
  const broken = [
    {
      estimate: selectionRatio,
      breaks: below(selectionRatio.value, least),
      certain: below(selectionRatio.high, 1),
    },
    {
      estimate: tprDifference,
      breaks: above(tprDifference.value, most),
      certain: above(tprDifference.low, 0),
    },
    {
      estimate: fprDifference,
      breaks: above(fprDifference.value, most),
      certain: above(fprDifference.low, 0),
    },
  ].filter(({ breaks }) => breaks)
  const known = estimates.some(({ value }) => value !== null)
  return {
    ...row,
    selectionRatio,
    tprDifference,
    fprDifference,
    verdict: broken.some(({ certain }) => certain)
      ? 'blocked'
      : broken.length > 0
        ? 'doubtful'
        : known
          ? 'ok'
          : 'undefined',
  }
}

const below = (value: number | null, limit: number) => value !== null && value < limit
const above = (value: number | null, limit: number) => value !== null && value > limit

type Rate = 'selectionRate' | 'tpr' | 'fpr'
const rates: readonly Rate[] = ['selectionRate', 'tpr', 'fpr']

interface Extremes {
  low: string
  high: string
  value: number
}

/** The two groups furthest apart; null while the rate is undefined in any of them. */
function extremes(groups: readonly GroupRates[], rate: Rate): Extremes | null {
  const sorted = [...groups].sort((a, b) => (a[rate] ?? 0) - (b[rate] ?? 0))
  const [least, most] = [sorted[0]!, sorted.at(-1)!]
  if (groups.some((group) => group[rate] === null)) return null
  const [low, high] = [least[rate]!, most[rate]!]
  const value = rate === 'selectionRate' ? ratioOf(low, high) : high - low
  return value === null ? null : { low: least.group, high: most.group, value }
}

const undefinedStatistic: Statistic = { kind: 'sums', columns: [], value: () => null }

function compare(
  rate: Rate,
  pair: Extremes,
  values: readonly (string | null)[],
  { y, predicted }: ScoredRows,
): Statistic {
  const counted = (i: number) => rate === 'selectionRate' || y[i] === (rate === 'tpr' ? 1 : 0)
  const columns = [pair.low, pair.high].flatMap((group) => {
    const member = Float64Array.from(y, (_, i) =>
      values[i] !== null && String(values[i]) === group && counted(i) ? 1 : 0,
    )
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
