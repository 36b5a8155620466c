/**
 * Computes the gain of one model over another with its interval: DeLong for AUC, McNemar for accuracy, and the paired bootstrap for
 * other metrics and for rows that share entities.
 */
import {
  bootstrap,
  percentileInterval,
  pointValue,
  type Interval,
  type Statistic,
} from '../statistics/bootstrap.ts'
import { delong } from '../metrics/delong.ts'
import {
  correctness,
  higherIsBetter,
  isCounted,
  isMean,
  rowLosses,
  statisticOf,
  type ScoredRows,
} from './metrics.ts'
import type { GateMetric, GatePolicy } from './policy.ts'
import { mcnemarP } from '../metrics/mcnemar.ts'
import { betaQuantile, normalQuantile } from '../statistics/distributions.ts'

export interface ScoredPair {
  metric: GateMetric
  challenger: ScoredRows
  reference: ScoredRows
}

export interface Gain extends Interval {
  challenger: number | null
  reference: number | null
  /** Positive is better, whatever the direction of the metric. */
  delta: number | null
  p: number | null
  method: 'delong' | 'mcnemar' | 'bootstrap' | 'none'
}

/** One gain per pair. Pass `entities` only when an entity has several rows. */
export function gains(
  pairs: readonly ScoredPair[],
  policy: Pick<GatePolicy, 'confidence' | 'resamples' | 'seed'>,
  entities?: readonly (string | number)[],
): Gain[] {
  const found: (Gain | null)[] = pairs.map((pair) =>
    entities === undefined ? analytic(pair, policy.confidence) : null,
  )
  const open = pairs.map((pair, i) => ({ pair, i })).filter(({ i }) => found[i] === null)
  const rows = pairs[0]?.challenger.y.length ?? 0
  const options = { resamples: policy.resamples, seed: policy.seed, entities }
  // Metrics of counts are resampled separately from metrics of real numbers, because counts resample much faster.
  for (const counted of [true, false]) {
    const group = open.filter(({ pair }) => isCounted(pair.metric) === counted)
    if (group.length === 0) continue
    const drawn = bootstrap(
      group.map(({ pair }) => difference(pair)),
      rows,
      options,
    )
    group.forEach(({ pair, i }, at) => {
      const interval = percentileInterval(drawn[at]!, policy.resamples, policy.confidence)
      found[i] = { ...points(pair), ...interval, p: null, method: 'bootstrap' }
    })
  }
  return found.map((gain) => gain!)
}

type Points = Pick<Gain, 'challenger' | 'reference' | 'delta'>

function points({ metric, challenger, reference }: ScoredPair): Points {
  const rows = challenger.y.length
  const a = pointValue(statisticOf(metric, challenger), rows)
  const b = pointValue(statisticOf(metric, reference), rows)
  const sign = higherIsBetter(metric) ? 1 : -1
  return { challenger: a, reference: b, delta: a === null || b === null ? null : sign * (a - b) }
}

function analytic(pair: ScoredPair, confidence: number): Gain | null {
  if (pair.metric === 'auc') return byDelong(pair, confidence)
  if (pair.metric === 'accuracy') return byMcNemar(pair, confidence)
  return null
}

const quantile = (p: number): number => normalQuantile(p) ?? NaN

function byDelong({ challenger, reference }: ScoredPair, confidence: number): Gain {
  const test = delong(challenger.y, challenger.score, reference.score, confidence)
  const delta = test.auc1 === null || test.auc2 === null ? null : test.auc1 - test.auc2
  const [low, high] = test.interval ?? [null, null]
  const { auc1, auc2, standardError, pTwoSided: p } = test
  const oneSidedLow =
    delta === null || standardError === null ? null : delta - quantile(confidence) * standardError
  return { challenger: auc1, reference: auc2, delta, low, high, oneSidedLow, p, method: 'delong' }
}

/**
 * Δ = (won − lost)/n. From 25 disagreements on, the interval is normal. Below, it is exact (Clopper–Pearson) in the share won among the
 * disagreements, and wide enough for disagreements that n rows cannot show: two models that agree on all rows may differ on 3/n of them
 * (the rule of three, exactly 1 − tail^(1/n)).
 */
function byMcNemar(pair: ScoredPair, confidence: number): Gain {
  const [a, b] = [correctness(pair.challenger), correctness(pair.reference)]
  const n = a.length
  let [won, lost] = [0, 0]
  for (let i = 0; i < n; i++) {
    if (a[i]! > b[i]!) won++
    else if (a[i]! < b[i]!) lost++
  }
  const all = won + lost
  const bounds = (tail: number): [number, number] => {
    if (all < 25) {
      const unseen = (count: number) => betaQuantile(1 - tail, count + 1, n - count) ?? 1
      const [least, most] = [won / n - unseen(lost), unseen(won) - lost / n]
      const low = won === 0 ? 0 : (betaQuantile(tail, won, lost + 1) ?? 0)
      const high = lost === 0 ? 1 : (betaQuantile(1 - tail, won + 1, lost) ?? 1)
      return [Math.min((all / n) * (2 * low - 1), least), Math.max((all / n) * (2 * high - 1), most)]
    }
    const reach = (quantile(1 - tail) * Math.sqrt(all - (won - lost) ** 2 / n)) / n
    return [(won - lost) / n - reach, (won - lost) / n + reach]
  }
  const [low, high] = n === 0 ? [null, null] : bounds((1 - confidence) / 2)
  const oneSidedLow = n === 0 ? null : bounds(1 - confidence)[0]
  return { ...points(pair), low, high, oneSidedLow, p: mcnemarP(lost, won), method: 'mcnemar' }
}

/** The gain as one statistic, so that each resample measures both models. */
function difference({ metric, challenger, reference }: ScoredPair): Statistic {
  const sign = higherIsBetter(metric) ? 1 : -1
  if (isMean(metric)) {
    const [a, b] = [rowLosses(metric, challenger)!, rowLosses(metric, reference)!]
    const columns = [a.map((value, i) => sign * (value - b[i]!))]
    return { kind: 'sums', columns, value: (sums, weight) => (weight > 0 ? sums[0]! / weight : null) }
  }
  const [a, b] = [statisticOf(metric, challenger), statisticOf(metric, reference)]
  const gain = (x: number | null, y: number | null) => (x === null || y === null ? null : sign * (x - y))
  if (a.kind === 'weights' || b.kind === 'weights') {
    return {
      kind: 'weights',
      value: (weights) =>
        a.kind === 'weights' && b.kind === 'weights' ? gain(a.value(weights), b.value(weights)) : null,
    }
  }
  const part = new Float64Array(a.columns.length)
  const rest = new Float64Array(b.columns.length)
  return {
    kind: 'sums',
    columns: [...a.columns, ...b.columns],
    value: (sums, weight) => {
      for (let j = 0; j < part.length; j++) part[j] = sums[j]!
      for (let j = 0; j < rest.length; j++) rest[j] = sums[part.length + j]!
      return gain(a.value(part, weight), b.value(rest, weight))
    },
  }
}
