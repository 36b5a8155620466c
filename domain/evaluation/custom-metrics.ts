/**
 * Judges the metrics that a model file defines as functions, on the same test rows and with the same resamples as the other metrics. A
 * non-finite result of a function is reported instead of compared.
 */
import { bootstrap, percentileInterval } from '@tenure/sequential'
import { metricText, worstCaseText } from '../figures.ts'
import { answeredRows, answerReader, type ModelAnswers } from '../metrics/answers.ts'
import type { Reason } from '../verdict.ts'
import { rowsOfTruths } from './metrics.ts'
import { failsMargin, gainVerdict, marginOf, type GateMetricRow } from './metric-table.ts'
import type { CustomMetricPolicy, GatePolicy, Margin } from './policy.ts'
import { gateOf } from '../tasks/tasks.ts'

/** The answer to one row: a probability, a number, the probability of each class, or each of several numbers. */
export type MetricAnswer = number | readonly number[]

/**
 * Gets the truth of each row (0 or 1, the index of the class, or the number; for several numbers per row all of them, row by row) and the
 * answers. Also called for each resample, with repeated rows. The lists are reused: do not keep a reference to them.
 */
export type MetricFunction = (y: readonly number[], answers: readonly MetricAnswer[]) => number

export type MetricFunctions = Readonly<Record<string, MetricFunction>>

/** The test rows of metrics that a model file computes. */
export interface MetricRows {
  y: readonly number[]
  challenger: ModelAnswers
  champion: ModelAnswers | null
  baseline: ModelAnswers
  entities?: readonly (string | number)[]
}

export interface CustomComparison extends CustomReasons {
  metrics: GateMetricRow[]
}

export interface CustomReasons {
  /** Failed guards: why the challenger is stopped. */
  against: Reason[]
  /** Metrics that do not decide and could not be measured. */
  warnings: Reason[]
}

/** `fault` completes a sentence: `is NaN, not a finite number`, `threw: Error: no price`. */
export type Measured = { value: number; fault?: undefined } | { value: null; fault: string }

export type ComparedModel = 'challenger' | 'champion' | 'baseline'

/** The values of a metric that another process has computed. */
export interface ComputedMetric extends Record<Exclude<ComparedModel, 'champion'>, Measured> {
  champion: Measured | null
  /** The finite gains on the resamples of `drawResamples`; empty where the metric is no guard. */
  gains: Float64Array
}

/** The metrics of a model file: functions, or what they have returned elsewhere. */
export type OwnMetrics = Readonly<Record<string, MetricFunction | ComputedMetric>>

export function compareCustom(rows: MetricRows, policy: GatePolicy, metrics: OwnMetrics): CustomComparison {
  const judged = Object.entries(policy.custom ?? {}).map(([name, custom]) => {
    const given = metrics[name] ?? (() => NaN)
    const computed = typeof given === 'function' ? computeBy(given, { custom, rows, policy }) : given
    return judgeOne({ name, custom, computed }, policy)
  })
  return { metrics: judged, ...customReasons(judged, policy) }
}

/** The reasons that follow from the rows of metrics of the model file; rows of other metrics have none here. */
export function customReasons(rows: readonly GateMetricRow[], policy: GatePolicy): CustomReasons {
  const found: CustomReasons = { against: [], warnings: [] }
  for (const row of rows) {
    const custom = policy.custom?.[row.metric]
    if (custom === undefined) continue
    const reason = reasonOf(row, custom)
    if (reason === undefined) continue
    const decides = custom.guard === true || custom.floor !== undefined
    found[decides ? 'against' : 'warnings'].push(reason)
  }
  return found
}

/** The answers of the three models as metrics get them; null without a champion. */
export function metricAnswers(
  rows: MetricRows,
  { task }: GatePolicy,
): Record<ComparedModel, MetricAnswer[] | null> & { challenger: MetricAnswer[]; baseline: MetricAnswer[] } {
  const answersOf = (answers: ModelAnswers) => {
    const rowAt = answerReader(answers)
    return Array.from({ length: answeredRows(answers) }, (_, row) => gateOf(task).forMetric([...rowAt(row)]))
  }
  return {
    challenger: answersOf(rows.challenger),
    champion: rows.champion === null ? null : answersOf(rows.champion),
    baseline: answersOf(rows.baseline),
  }
}

/** Calls `value` with the weights of each resample, which are how often each row is drawn. Returns its finite values. */
export function drawResamples(
  { y, entities }: Pick<MetricRows, 'y' | 'entities'>,
  policy: GatePolicy,
  value: (weights: ArrayLike<number>) => number | null,
): Float64Array {
  const [values = new Float64Array()] = bootstrap([{ kind: 'weights', value }], rowsOfTruths(y, policy), {
    ...policy,
    entities,
  })
  return values
}

function computeBy(
  of: MetricFunction,
  { custom, rows, policy }: { custom: CustomMetricPolicy; rows: MetricRows; policy: GatePolicy },
): ComputedMetric {
  const { y } = rows
  const { challenger, champion, baseline } = metricAnswers(rows, policy)
  const computed = {
    challenger: measure(() => of(y, challenger)),
    champion: champion === null ? null : measure(() => of(y, champion)),
    baseline: measure(() => of(y, baseline)),
  }
  // An interval calls the function thousands of times, so that only a guard has one.
  const hasInterval =
    custom.guard === true && computed.challenger.value !== null && computed.champion?.value != null
  const gain =
    hasInterval && champion !== null ? gainOf(of, y, challenger, champion, signOf(custom)) : undefined
  return { ...computed, gains: gain === undefined ? new Float64Array() : drawResamples(rows, policy, gain) }
}

const signOf = ({ better }: CustomMetricPolicy): 1 | -1 => (better === 'higher' ? 1 : -1)

function judgeOne(
  { name, custom, computed }: { name: string; custom: CustomMetricPolicy; computed: ComputedMetric },
  policy: GatePolicy,
): GateMetricRow {
  const { challenger: now, champion: before, baseline: naive, gains } = computed
  const higherIsBetter = custom.better === 'higher'
  const sign = signOf(custom)
  const margin = before === null ? null : customMargin(before.value, custom.margin)
  const floor = custom.floor ?? null
  const delta =
    now.value === null || before === null || before.value === null ? null : sign * (now.value - before.value)
  const row: GateMetricRow = {
    metric: name,
    higherIsBetter,
    champion: before?.value ?? null,
    challenger: now.value,
    baseline: naive.value,
    delta,
    low: null,
    high: null,
    oneSidedLow: null,
    p: null,
    margin,
    floor,
    floorMet: floor === null ? null : now.value !== null && sign * (now.value - floor) >= 0,
    method: 'none',
    verdict: 'reported',
  }
  for (const who of ['challenger', 'champion'] as const) {
    const fault = computed[who]?.fault
    if (fault !== undefined) return { ...row, verdict: 'error', error: `${name} of the ${who} ${fault}` }
  }
  if (delta === null || custom.guard !== true) return row
  const interval = percentileInterval(gains, policy.resamples, policy.confidence)
  if (interval.low === null) {
    const share = Math.round((100 * (policy.resamples - gains.length)) / policy.resamples)
    return { ...row, verdict: 'error', error: `${name} is not finite in ${share} % of the resamples` }
  }
  const gain = {
    ...interval,
    delta,
    p: null,
    method: 'bootstrap',
    challenger: now.value,
    reference: null,
  } as const
  return {
    ...row,
    ...interval,
    method: 'bootstrap',
    verdict: gainVerdict(gain, margin ?? 0, policy.confidence),
  }
}

/** Turns a non-finite value or an exception into a fault. */
function measure(of: () => unknown): Measured {
  try {
    const value = of()
    if (typeof value === 'number' && Number.isFinite(value)) return { value }
    return { value: null, fault: `is ${shown(value)}, not a finite number` }
  } catch (error) {
    return { value: null, fault: `threw: ${String(error).slice(0, 300)}` }
  }
}

const shown = (value: unknown): string =>
  value instanceof Promise
    ? 'a promise'
    : typeof value === 'number'
      ? String(value)
      : (JSON.stringify(value) ?? String(value)).slice(0, 100)

/** The gain on a resample, with each row repeated as often as it was drawn. */
function gainOf(
  of: MetricFunction,
  y: readonly number[],
  challenger: readonly MetricAnswer[],
  champion: readonly MetricAnswer[],
  sign: number,
) {
  const width = y.length / challenger.length
  const [drawn, one, other]: [number[], MetricAnswer[], MetricAnswer[]] = [[], [], []]
  return (weights: ArrayLike<number>): number | null => {
    let length = 0
    for (let row = 0; row < challenger.length; row++)
      for (let times = weights[row]!; times > 0; times--) {
        for (let k = 0; k < width; k++) drawn[length * width + k] = y[row * width + k]!
        one[length] = challenger[row]!
        other[length++] = champion[row]!
      }
    drawn.length = length * width
    one.length = other.length = length
    try {
      return sign * (of(drawn, one) - of(drawn, other))
    } catch {
      return null
    }
  }
}

function customMargin(reference: number | null, margin: Margin = { relative: 0.01 }): number {
  return marginOf('custom', reference, { margins: { custom: margin } })
}

function reasonOf(row: GateMetricRow, { guard = false }: CustomMetricPolicy): Reason | undefined {
  const { metric, champion, challenger, delta, low, oneSidedLow, margin, verdict } = row
  const values = { metric, challenger, reference: champion, delta, low, oneSidedLow, margin }
  if (verdict === 'error') return { code: 'metric_error', message: row.error ?? metric, values: { metric } }
  if (!guard || !failsMargin(row)) return undefined
  const message = `${metric} ${metricText(challenger)} vs champion ${metricText(champion)}: ${worstCaseText(oneSidedLow, margin)}`
  return { code: 'guard_not_better', message, values }
}
