/**
 * Builds the metric table of the gate: each metric for champion and challenger with the interval of the gain, and the objections that
 * follow.
 */
import { metricName, metricText, signedGain, worstCaseText } from '../figures.ts'
import {
  betaQuantile,
  bootstrap,
  delong,
  type Interval,
  mcnemarP,
  normalQuantile,
  percentileInterval,
  pointValue,
  type Statistic,
} from '@tenure/sequential'
import { higherIsBetter, isMean, sharedScores, statisticOf, isCounted, rowLosses } from './metrics.ts'
import { narrowMarginText } from './expected-evidence.ts'
import { builtInPrimary, hasCustomPrimary, type GatePolicy, type Margin } from './policy.ts'
import type { Reason } from '../verdict.ts'
import { type ScoredRows, correctness } from './scored-rows.ts'
import { metricScales, type GateMetric } from './gate-metrics.ts'
import { gateOf } from '../tasks/tasks.ts'

export interface GateMetricRow {
  /** A metric of the task, or a metric function of the model file. */
  metric: string
  higherIsBetter: boolean
  champion: number | null
  challenger: number | null
  /**
   * The challenger's metric over the numbers that the champion also answers, on which the gain is computed; absent when these are all its
   * numbers.
   */
  beside?: number | null
  /** The challenger's value where each row counts as one, as the monitor measures it; absent where rows have no weights. */
  unweighted?: number | null
  baseline: number | null
  /** The challenger's gain: positive is better, whatever the direction of the metric. */
  delta: number | null
  /** The two-sided interval of the gain. */
  low: number | null
  high: number | null
  /** The one-sided lower bound of the gain, compared with −margin. */
  oneSidedLow: number | null
  /** The p-value of McNemar's or DeLong's test; null when the interval is the test. */
  p: number | null
  /** The margin of "not worse", in the unit of the metric. */
  margin: number | null
  floor: number | null
  floorMet: boolean | null
  method: 'delong' | 'mcnemar' | 'bootstrap' | 'none'
  /** `reported`: without a champion or an interval. `undefined`: the metric is undefined. */
  verdict: 'better' | 'not_worse' | 'not_better' | 'worse' | 'reported' | 'undefined' | 'error'
  /** Why a metric function of the model file could not be measured. */
  error?: string
}

/** Whether the loss may be larger than the margin. */
export const failsMargin = ({ verdict }: Pick<GateMetricRow, 'verdict'>): boolean =>
  verdict === 'not_better' || verdict === 'worse'

/** The challenger's value, with that of the compared numbers where these are not all. */
export const challengerText = (
  { challenger, beside }: Pick<GateMetricRow, 'challenger' | 'beside'>,
  text: (value: number | null) => string,
): string =>
  beside === undefined ? text(challenger) : `${text(challenger)} (${text(beside)} of the compared numbers)`

/** The challenger's value that is compared with the champion's. */
export const comparedValue = ({
  challenger,
  beside,
}: Pick<GateMetricRow, 'challenger' | 'beside'>): number | null =>
  beside === undefined ? challenger : beside

/** Whether the challenger must be not worse in this metric, apart from the primary metric. */
export const isGuard = ({ metric }: Pick<GateMetricRow, 'metric'>, { guards, custom }: GatePolicy): boolean =>
  guards.some((guard) => guard === metric) || custom?.[metric]?.guard === true

/** Whether a metric decides: it is primary, a guardrail, or has missed its floor. The others inform. */
export const decides = (
  row: Pick<GateMetricRow, 'metric'> & Partial<Pick<GateMetricRow, 'floorMet'>>,
  policy: GatePolicy,
): boolean => row.metric === policy.primary || isGuard(row, policy) || row.floorMet === false

export interface Models {
  challenger: ScoredRows
  champion: ScoredRows | null
  anchor: ScoredRows | null
  baseline: ScoredRows
}

export interface GateComparison {
  metrics: GateMetricRow[]
  /** The objections from the primary metric, a guard, the anchor or the baseline. */
  against: Reason[]
}

/** Compares the metrics of the task. A custom primary metric is compared by `compareCustom`. */
export function compareAll(
  { challenger, champion, anchor, baseline }: Models,
  policy: GatePolicy,
  entities?: readonly (string | number)[],
): GateComparison {
  const { guards } = policy
  const primary = builtInPrimary(policy)
  const decides = !hasCustomPrimary(policy)
  const judged = new Set<GateMetric>([...(decides ? [primary] : []), ...guards])
  const named = Object.keys(policy.floors) as GateMetric[]
  const unasked = gateOf(policy.task).metrics.filter((metric) => metricScales[metric].whenNamed !== true)
  const shown = [...new Set([primary, ...guards, ...unasked, ...named])]
  // Rank metrics and F1 over many classes need several passes in each resample, so they get an interval only when they decide.
  const cheap = (metric: GateMetric) =>
    isMean(metric) ||
    ['f1', 'precision', 'recall'].includes(metric) ||
    metric === 'rmse' ||
    (metric === 'auc' && entities === undefined && challenger.weights === undefined)
  const withInterval = shown.filter((metric) => judged.has(metric) || cheap(metric))
  const pairOf = (metric: GateMetric, reference: ScoredRows): ScoredPair => ({
    metric,
    challenger: sharedScores(challenger, reference),
    reference,
  })
  const pairs = champion === null ? [] : withInterval.map((metric) => pairOf(metric, champion))
  const others = (decides ? [baseline, anchor] : []).filter((each) => each !== null)
  const all = gains([...pairs, ...others.map((each) => pairOf(primary, each))], policy, entities)

  const against: Reason[] = []
  const metrics = shown.map((metric): GateMetricRow => {
    const gain = champion === null ? undefined : all[withInterval.indexOf(metric)]
    const row = tableRow(metric, gain, { challenger, champion, baseline }, policy)
    if (gain !== undefined && judged.has(metric) && row.verdict !== 'better' && row.verdict !== 'not_worse') {
      const what = decides && metric === primary ? 'primary' : 'guard'
      against.push(notBetter(row, what, 'champion', gain))
    }
    return row
  })
  const [overBaseline, overAnchor] = all.slice(pairs.length)
  if (overBaseline !== undefined) {
    const row = metrics.find((each) => each.metric === primary)!
    against.push(...referenceObjections(row, { baseline: overBaseline, anchor: overAnchor }, policy))
  }
  return { metrics, against }
}

/** The objections to the primary metric from the baseline and the anchor. */
export function referenceObjections(
  row: GateMetricRow,
  { baseline, anchor }: { baseline: Gain; anchor: Gain | undefined },
  policy: GatePolicy,
): Reason[] {
  const against: Reason[] = []
  if (!(baseline.low !== null && baseline.low > 0))
    against.push(notBetter({ ...row, margin: 0 }, 'baseline', 'baseline', baseline))
  // The anchor limits the sum of many small losses. A proven gain over the champion is not a loss, even when an older release was better in
  // older data.
  if (anchor !== undefined && row.verdict !== 'better') {
    const margin = marginOf(row.metric, anchor.reference, policy)
    if (!(anchor.oneSidedLow !== null && anchor.oneSidedLow >= -margin))
      against.push(notBetter({ ...row, margin }, 'anchor', 'best release of 90 days', anchor))
  }
  return against
}

function tableRow(
  metric: GateMetric,
  gain: Gain | undefined,
  { challenger, champion, baseline }: Pick<Models, 'challenger' | 'champion' | 'baseline'>,
  policy: GatePolicy,
): GateMetricRow {
  const value = (scored: ScoredRows | null) =>
    scored === null ? null : pointValue(statisticOf(metric, scored), scored.y.length)
  const now = value(challenger)
  const before = value(champion)
  const shared = champion === null ? challenger : sharedScores(challenger, champion)
  const beside = shared === challenger ? now : value(shared)
  const better = higherIsBetter(metric)
  const floor = policy.floors[metric] ?? null
  const margin = champion === null ? null : marginOf(metric, before, policy)
  const delta = beside === null || before === null ? null : better ? beside - before : before - beside
  const { low = null, high = null, oneSidedLow = null, p = null, method = 'none' } = gain ?? {}
  return {
    metric,
    higherIsBetter: better,
    champion: before,
    challenger: now,
    ...(shared !== challenger && { beside }),
    ...(challenger.weights !== undefined && { unweighted: value({ ...challenger, weights: undefined }) }),
    baseline: value(baseline),
    delta,
    low,
    high,
    oneSidedLow,
    p,
    margin,
    floor,
    floorMet: floor === null ? null : now !== null && (better ? now >= floor : now <= floor),
    method,
    verdict: now === null ? 'undefined' : gainVerdict(gain, margin ?? 0, policy.confidence),
  }
}

/**
 * The verdict on a gain; `reported` without one. A challenger that is "not better" may be as good as the champion: too few rows decide. One
 * that is "worse" is not.
 */
export function gainVerdict(
  gain: Gain | undefined,
  margin: number,
  confidence: number,
): GateMetricRow['verdict'] {
  if (gain === undefined) return 'reported'
  if (gain.delta === null || gain.low === null || gain.oneSidedLow === null) return 'undefined'
  // The interval of an accuracy is approximate, so McNemar's test decides.
  const isSignificant = gain.p === null || gain.p < 1 - confidence
  if (gain.low > 0 && isSignificant) return 'better'
  if (gain.oneSidedLow >= -margin) return 'not_worse'
  return gain.high !== null && gain.high < 0 && isSignificant ? 'worse' : 'not_better'
}

const defaultCustomMargin: Margin = { relative: 0.01 }

/** The margin in the unit of the metric; 0 for a metric without one. */
export function marginOf(
  metric: string,
  reference: number | null,
  { margins, custom = {} }: Pick<GatePolicy, 'margins' | 'custom'>,
): number {
  const margin = Object.hasOwn(custom, metric)
    ? (custom[metric]!.margin ?? defaultCustomMargin)
    : (margins[metric as GateMetric] ?? 0)
  return typeof margin === 'number' ? margin : margin.relative * Math.abs(reference ?? 0)
}

/** The objection of a metric that is not proven to be good enough. */
export function notBetter(
  { metric, margin, verdict }: GateMetricRow,
  what: 'primary' | 'guard' | 'anchor' | 'baseline',
  who: string,
  { challenger, reference, delta, low, oneSidedLow }: Gain,
): Reason {
  const values = { metric, challenger, reference, delta, low, oneSidedLow, margin }
  if (delta === null || oneSidedLow === null) {
    const message = `${metricName(metric)} against the ${who} is undefined on these rows`
    return { code: `${what}_undefined`, message, values }
  }
  const figures = `${metricName(metric)} ${metricText(challenger)} vs ${who} ${metricText(reference)}`
  const worst =
    what === 'baseline' ? `worst case ${signedGain(low)}, limit 0` : worstCaseText(oneSidedLow, margin)
  const isOfChampion = what === 'primary' || what === 'guard'
  const narrow =
    isOfChampion && verdict !== 'worse'
      ? narrowMarginText({ shows: delta - oneSidedLow, margin: margin ?? 0 })
      : undefined
  const ending = isOfChampion ? 'not_better' : 'not_met'
  const told = narrow === undefined ? '' : ` (${narrow})`
  return { code: `${what}_${ending}`, message: `${figures}: ${worst}${told}`, values }
}

// Computes the gain of one model over another with its interval: DeLong for AUC, McNemar for accuracy, and the paired bootstrap for other
// metrics and for rows that share entities.

interface ScoredPair {
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
    entities === undefined && pair.challenger.weights === undefined
      ? analytic(pair, policy.confidence)
      : null,
  )
  const open = pairs.map((pair, i) => ({ pair, i })).filter(({ i }) => found[i] === null)
  const rows = pairs[0]?.challenger.y.length ?? 0
  const options = { resamples: policy.resamples, seed: policy.seed, entities }
  // Metrics of counts are resampled separately from metrics of real numbers, because counts resample much faster.
  for (const counted of [true, false]) {
    const group = open.filter(({ pair }) => isCounted(pair.metric) === counted)
    if (group.length === 0) continue
    const drawn = bootstrap(
      group.map(({ pair }) => differenceOf(pair)),
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
/** The gain of a pair, as a function of the rows' weights. */
export function differenceOf({ metric, challenger, reference }: ScoredPair): Statistic {
  const sign = higherIsBetter(metric) ? 1 : -1
  if (isMean(metric) && challenger.weights === undefined) {
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
