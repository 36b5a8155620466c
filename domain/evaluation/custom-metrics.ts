/**
 * Judges the metrics that a model file defines as functions, on the same test rows and with the same resamples as the other metrics. A
 * non-finite result of a function is reported instead of compared.
 */
import { bootstrap, percentileInterval } from '@tenure/sequential'
import { answeredRows, answerReader, type ModelAnswers } from '../metrics/answers.ts'
import type { Reason } from '../verdict.ts'
import { rowsOfTruths } from './metrics.ts'
import {
  failsMargin,
  gainVerdict,
  marginOf,
  notBetter,
  referenceObjections,
  type Gain,
  type GateComparison,
  type GateMetricRow,
} from './metric-table.ts'
import type { CustomMetricPolicy, GatePolicy } from './policy.ts'
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
  /** Recent releases. The best of them is the anchor of a primary metric. */
  anchors: readonly ModelAnswers[]
  entities?: readonly (string | number)[]
}

export interface CustomReasons {
  /** Failed guards: why the challenger is stopped. */
  against: Reason[]
  /** Metrics that do not decide and could not be measured. */
  warnings: Reason[]
}

/** `fault` completes a sentence: `is NaN, not a finite number`, `threw: Error: no price`. */
export type Measured = { value: number; fault?: undefined } | { value: null; fault: string }

/** What the challenger is compared with. */
export type Reference = 'champion' | 'baseline' | 'anchor'

/** The values of a metric. */
export interface ComputedMetric {
  challenger: Measured
  champion: Measured | null
  baseline: Measured
  /**
   * The best of the recent releases by its place among them, the first with its fault where none has a value; null without a release, and
   * where no gain over it is asked for.
   */
  anchor: (Measured & { at: number }) | null
  /** The finite gains on the resamples of `drawResamples`; absent for a reference without a value, or that is not asked for. */
  gains: Partial<Record<Reference, Float64Array>>
}

/** The metrics of a model file: functions, or what they have returned elsewhere. */
export type OwnMetrics = Readonly<Record<string, MetricFunction | ComputedMetric>>

/** What the gain in a metric is resampled over. A resample calls the function once more for each, so that only a guard and the primary metric have one. */
export function referencesOf(name: string, { primary, custom }: GatePolicy): Reference[] {
  if (name === primary) return ['champion', 'baseline', 'anchor']
  return custom?.[name]?.guard === true ? ['champion'] : []
}

/** `added`: the numbers that the champion does not answer, so that its value is unknown. */
export function compareCustom(
  rows: MetricRows,
  policy: GatePolicy,
  { metrics, isFirst, added = [] }: { metrics: OwnMetrics; isFirst: boolean; added?: readonly string[] },
): GateComparison {
  const compared: GateComparison = { metrics: [], against: [] }
  for (const [name, custom] of Object.entries(policy.custom ?? {})) {
    const given = metrics[name] ?? (() => NaN)
    const computed = typeof given === 'function' ? computeMetric(given, name, { rows, policy }) : given
    const row = rowOf({ name, custom, computed, isFirst }, policy)
    compared.metrics.push(row)
    if (name === policy.primary) compared.against.push(...primaryObjections(row, { computed, added }, policy))
  }
  return compared
}

/** The reasons that follow from the rows of guards and other metrics of the model file; rows of other metrics have none here. */
export function customReasons(rows: readonly GateMetricRow[], policy: GatePolicy): CustomReasons {
  const found: CustomReasons = { against: [], warnings: [] }
  for (const row of rows) {
    const custom = policy.custom?.[row.metric]
    if (custom === undefined || row.metric === policy.primary) continue
    const reason = reasonOf(row, custom)
    if (reason === undefined) continue
    const decides = custom.guard === true || custom.floor !== undefined
    found[decides ? 'against' : 'warnings'].push(reason)
  }
  return found
}

/** The answers as metrics get them; null without a champion. */
export function metricAnswers({ challenger, champion, baseline, anchors }: MetricRows, { task }: GatePolicy) {
  const answersOf = (answers: ModelAnswers): MetricAnswer[] => {
    const rowAt = answerReader(answers)
    return Array.from({ length: answeredRows(answers) }, (_, row) => gateOf(task).forMetric([...rowAt(row)]))
  }
  return {
    challenger: answersOf(challenger),
    champion: champion === null ? null : answersOf(champion),
    baseline: answersOf(baseline),
    anchors: anchors.map(answersOf),
  }
}

/** Calls `visit` with the weights of each resample, which are how often each row is drawn. */
export function drawResamples(
  { y, entities }: Pick<MetricRows, 'y' | 'entities'>,
  policy: GatePolicy,
  visit: (weights: ArrayLike<number>) => void,
): void {
  const value = (weights: ArrayLike<number>) => {
    visit(weights)
    return null
  }
  bootstrap([{ kind: 'weights', value }], rowsOfTruths(y, policy), { ...policy, entities })
}

/** Calls the function of a metric for each model and, for the references of the metric, on each resample. */
export function computeMetric(
  of: MetricFunction,
  name: string,
  { rows, policy }: { rows: MetricRows; policy: GatePolicy },
): ComputedMetric {
  const { y } = rows
  const sign = signOf(policy.custom![name]!)
  const references = referencesOf(name, policy)
  const { challenger, champion, baseline, anchors } = metricAnswers(rows, policy)
  const valueOf = (answers: readonly MetricAnswer[]) => measure(() => of(y, answers))
  const values = {
    challenger: valueOf(challenger),
    champion: champion === null ? null : valueOf(champion),
    baseline: valueOf(baseline),
  }
  let anchor: ComputedMetric['anchor'] = null
  for (const [at, answers] of (references.includes('anchor') ? anchors : []).entries()) {
    const measured = valueOf(answers)
    const best = anchor?.value ?? null
    if (
      anchor === null ||
      (measured.value !== null && (best === null || sign * measured.value > sign * best))
    )
      anchor = { at, ...measured }
  }
  const answersOf: Record<Reference, readonly MetricAnswer[] | null> = {
    champion: values.champion?.value == null ? null : champion,
    baseline: values.baseline.value === null ? null : baseline,
    anchor: anchor === null || anchor.value === null ? null : anchors[anchor.at]!,
  }
  const compared = values.challenger.value === null ? [] : references
  const others = compared.flatMap((who) => (answersOf[who] === null ? [] : [[who, answersOf[who]] as const]))
  return { ...values, anchor, gains: gainsOver(others, { of, sign, challenger, rows, policy }) }
}

const signOf = ({ better }: CustomMetricPolicy): 1 | -1 => (better === 'higher' ? 1 : -1)

/** The gains on each resample, with each row repeated as often as it was drawn. */
function gainsOver(
  others: readonly (readonly [Reference, readonly MetricAnswer[]])[],
  {
    of,
    sign,
    challenger,
    rows,
    policy,
  }: {
    of: MetricFunction
    sign: 1 | -1
    challenger: readonly MetricAnswer[]
    rows: MetricRows
    policy: GatePolicy
  },
): ComputedMetric['gains'] {
  if (others.length === 0) return {}
  const { y } = rows
  const width = y.length / challenger.length
  const labels: number[] = []
  const answers = [challenger, ...others.map(([, each]) => each)]
  const drawn = answers.map((): MetricAnswer[] => [])
  const gains = others.map((): number[] => [])
  const valueOf = (of_: () => number) => {
    try {
      return of_()
    } catch {
      return NaN
    }
  }
  drawResamples(rows, policy, (weights) => {
    let length = 0
    for (let row = 0; row < challenger.length; row++)
      for (let times = weights[row]!; times > 0; times--) {
        for (let k = 0; k < width; k++) labels[length * width + k] = y[row * width + k]!
        for (let model = 0; model < answers.length; model++) drawn[model]![length] = answers[model]![row]!
        length++
      }
    labels.length = length * width
    for (const each of drawn) each.length = length
    const [own, ...given] = drawn.map((each) => valueOf(() => of(labels, each)))
    given.forEach((value, at) => {
      const gain = sign * (own! - value)
      if (Number.isFinite(gain)) gains[at]!.push(gain)
    })
  })
  return Object.fromEntries(others.map(([who], at) => [who, Float64Array.from(gains[at]!)]))
}

function rowOf(
  {
    name,
    custom,
    computed,
    isFirst,
  }: { name: string; custom: CustomMetricPolicy; computed: ComputedMetric; isFirst: boolean },
  policy: GatePolicy,
): GateMetricRow {
  const { challenger: now, champion: before, baseline: naive, gains } = computed
  const sign = signOf(custom)
  const margin = isFirst ? null : marginOf(name, before?.value ?? null, policy)
  const floor = custom.floor ?? null
  const delta = gainBetween(now.value, before?.value ?? null, sign)
  const row: GateMetricRow = {
    metric: name,
    higherIsBetter: custom.better === 'higher',
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
  if (delta === null || gains.champion === undefined) return row
  const gain = gainOver('champion', computed, { sign, policy })
  if (gain.low === null) {
    const share = Math.round((100 * (policy.resamples - gains.champion.length)) / policy.resamples)
    return { ...row, verdict: 'error', error: `${name} is not finite in ${share} % of the resamples` }
  }
  const { low, high, oneSidedLow, method } = gain
  return {
    ...row,
    low,
    high,
    oneSidedLow,
    method,
    verdict: gainVerdict(gain, margin ?? 0, policy.confidence),
  }
}

const gainBetween = (one: number | null, other: number | null, sign: 1 | -1): number | null =>
  one === null || other === null ? null : sign * (one - other)

function gainOver(
  who: Reference,
  { challenger, gains, ...references }: ComputedMetric,
  { sign, policy }: { sign: 1 | -1; policy: GatePolicy },
): Gain {
  const reference = references[who]?.value ?? null
  return {
    ...percentileInterval(gains[who] ?? new Float64Array(), policy.resamples, policy.confidence),
    challenger: challenger.value,
    reference,
    delta: gainBetween(challenger.value, reference, sign),
    p: null,
    method: 'bootstrap',
  }
}

/** The objections to a primary metric of the model file, as `compareAll` has them for one of the task. */
function primaryObjections(
  row: GateMetricRow,
  { computed, added }: { computed: ComputedMetric; added: readonly string[] },
  policy: GatePolicy,
): Reason[] {
  const { metric, verdict, margin } = row
  const undefinedBy = (code: string, message: string): Reason => ({ code, message, values: { metric } })
  if (verdict === 'error') return [undefinedBy('primary_undefined', row.error ?? metric)]
  if (margin !== null && computed.champion === null)
    return [
      undefinedBy(
        'primary_undefined',
        `${metric} of the champion is unknown, because it does not answer ${added.join(', ')}: let a metric of the task be evaluation.primary until this version is released`,
      ),
    ]
  const by = { sign: signOf(policy.custom![metric]!), policy }
  const against =
    margin === null || verdict === 'better' || verdict === 'not_worse'
      ? []
      : [notBetter(row, 'primary', 'champion', gainOver('champion', computed, by))]
  const { fault } = computed.baseline
  if (fault !== undefined)
    return [...against, undefinedBy('baseline_undefined', `${metric} of the baseline ${fault}`)]
  const baseline = gainOver('baseline', computed, by)
  // Without a known release, a proven gain over the champion is enough, as with one.
  if (computed.anchor?.fault !== undefined && verdict !== 'better')
    against.push(undefinedBy('anchor_undefined', `${metric} of each recent release ${computed.anchor.fault}`))
  const anchor = computed.anchor?.value == null ? undefined : gainOver('anchor', computed, by)
  return [...against, ...referenceObjections(row, { baseline, anchor }, policy)]
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

function reasonOf(row: GateMetricRow, { guard = false }: CustomMetricPolicy): Reason | undefined {
  const { metric, champion, verdict } = row
  if (verdict === 'error') return { code: 'metric_error', message: row.error ?? metric, values: { metric } }
  return guard && failsMargin(row)
    ? notBetter(row, 'guard', 'champion', { ...row, method: 'bootstrap', reference: champion })
    : undefined
}
