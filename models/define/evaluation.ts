/** Compiles the `evaluation` of a model file: the requirements that a challenger must meet before it receives traffic. */
import type { Output } from '../../domain/tasks/output.ts'
import type { EvaluationDefinition, LabelDefinition, SliceDefinition } from '../../domain/model-definition.ts'
import { defaultImportance, type ImportancePolicy } from '../../domain/explanation/importance.ts'
import { withQuotedAt } from '../../domain/sql-text.ts'
import {
  defaultGatePolicy,
  builtInPrimary,
  issuesOfGate,
  sliceMetricFor,
  type GatePolicy,
  type Margin,
} from '../../domain/evaluation/policy.ts'
import { compileMetrics, type MetricSpec } from './custom-metrics.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'
import { issuesOfWords } from '../../domain/tasks/judged-words.ts'
import { taskOf } from '../../domain/tasks/tasks.ts'
import type { GateMetric } from '../../domain/evaluation/gate-metrics.ts'

/** The name of a metric in `metrics`. */
type OwnName = string & {}

export interface CostSpec {
  /** How many times the champion's 99th percentile of the time for a row the challenger's may be. Default: any. */
  p99?: number
  /** How many times the champion's processor time for a row the challenger's may be. Default: any. */
  processor?: number
  /** How many times the resident memory of the champion's process that of the challenger's may be. Default: any. */
  memory?: number
}

export interface EvaluationSpec {
  /**
   * The deciding metric. Default, by the label: `auc` (yesNo), `accuracy` (oneOf), `rmse` (quantity), `pinball` (quantiles), `r2`
   * (quantities). Or one of `metrics`.
   */
  primary?: GateMetric | OwnName
  /**
   * The metric of the task that stands in for a custom primary metric where no function of the model file runs: in windows of the monitor, in
   * the importance of features and in slices. Default: that of the label as above. Only with a custom primary metric.
   */
  standIn?: GateMetric
  /** The floors that every version must reach. At least one is required, because the first version has no champion to compare with. */
  floors: Partial<Record<GateMetric | OwnName, number>>
  /**
   * The non-inferiority margin against the champion, in the primary metric: a number, or `{ relative: 0.01 }` of the champion's value. Default:
   * 0.005 of `auc`, 0.02 of `coverageError`, 1 % of the champion's `brier`, `logLoss`, `rmse`, `mae` or `pinball`, 2 % of its
   * `averagePrecision`, `precision`, `f1`, `recallAtTop` or `precisionAtTop`, 1 % of a custom metric, and 0.01 of the others.
   */
  margin?: Margin
  /**
   * The share of the rows that somebody can look at, such as 0.005: `recallAtTop` is the share of all positives among the rows with the
   * highest probabilities, `precisionAtTop` the share of these that are positive. Default: 0.01. Both are measured where they are the primary
   * metric, a guard or a floor.
   */
  top?: number
  /** Guardrail metrics, which must not be worse either. */
  guards?: readonly (GateMetric | OwnName)[]
  /** The margins of other metrics. Default of a custom metric: `{ relative: 0.01 }`. */
  margins?: Partial<Record<GateMetric | OwnName, Margin>>
  /**
   * Custom metrics, which `primary`, guards and floors may name: `{ cost: { of: (y, answers) => …, better: 'lower' } }`. `better` is `'higher'` or
   * `'lower'`; [what `of` gets](../how-to/tune-hyperparameters.md#metrics-of-your-own). A name has up to 40 letters and digits.
   */
  metrics?: Readonly<Record<string, MetricSpec>>
  /** The minimum number of test rows for a verdict. Unset fields keep their defaults. */
  evidence?: Partial<GatePolicy['evidence']>
  /** The limits of the calibration error, both fields, or `'off'`, the default where the output is not a probability. */
  calibration?: GatePolicy['calibration']
  /** The limits of differences between groups. Unset fields keep their defaults. A limit that the label has no measure for is refused. */
  fairness?: Partial<GatePolicy['fairness']>
  /** The limits of leakage. Unset fields keep their defaults. */
  leakage?: Partial<GatePolicy['leakage']>
  /** Slices of the test rows that must not get worse, at most 50: `{ name: 'evening', where: "hour >= '17'" }`. */
  slices?: readonly SliceDefinition[]
  /**
   * The metric that compares slices, and the loss that refuses a challenger. Default: 0.02 of the primary metric, or 2 % of the champion's
   * where lower is better. Where the primary metric cannot compare slices, such as `f1` or `r2`, it is `accuracy`, `rmse`, `pinball`
   * (quantiles) or `mae` (quantities).
   */
  sliceLimits?: Partial<GatePolicy['slices']>
  /** The columns whose groups are compared for [fairness](judges.md#what-else-stops-a-challenger), each label by its own measures. */
  groups?: readonly string[]
  /** The column that identifies the entity of a row, if an entity has several rows. */
  entity?: string
  /**
   * A source column with a prediction that needs no model, such as the last value; every challenger must beat it. Default: the class
   * shares, the mean (the median where the primary metric is `mae`), or the quantiles of the test rows. Not for classes.
   */
  baseline?: string
  /**
   * How the importance of features is measured: by shuffling each column of up to `rows` test rows `permutations` times. Default: 2,000 and
   * 20. Takes ten seconds at most; `'off'` disables it.
   */
  importance?: Partial<ImportancePolicy> | 'off'
  /**
   * How many times the champion's the challenger's time for a row at the 99th percentile, its processor time for a row and the memory of its
   * process may be in the pre-flight checks of its release: `{ p99: 1.5, processor: 1.5, memory: 2 }`. Default: any; all are shown to the
   * approver anyway.
   */
  cost?: CostSpec
  /**
   * Whether an admin may register a challenger that the gate refused, [by break-glass](../how-to/look-after-a-release.md#commands).
   * Default: true.
   */
  breakGlass?: boolean
}

const fields = fieldNames<EvaluationSpec>({
  primary: 0,
  standIn: 0,
  floors: 0,
  margin: 0,
  guards: 0,
  margins: 0,
  top: 0,
  metrics: 0,
  evidence: 0,
  calibration: 0,
  fairness: 0,
  leakage: 0,
  slices: 0,
  sliceLimits: 0,
  groups: 0,
  entity: 0,
  baseline: 0,
  importance: 0,
  cost: 0,
  breakGlass: 0,
})

export function compileEvaluation(
  report: IssueCollector,
  spec: EvaluationSpec,
  label: LabelDefinition,
): EvaluationDefinition {
  const { gate, facts } = taskOf(label.output)
  const task = gate.name
  const base = defaultGatePolicy(task)
  const primary = spec.primary ?? base.primary
  const known = gate.metrics
  const isOwn = (name: string) => Object.hasOwn(spec.metrics ?? {}, name)
  const builtIn = <T>(given: Partial<Record<string, T>> | undefined): Partial<Record<GateMetric, T>> =>
    Object.fromEntries(Object.entries(given ?? {}).filter(([name]) => !isOwn(name)))
  const custom = compileMetrics(report, spec.metrics, { ...spec, known })
  const standIn = isOwn(primary) ? (spec.standIn ?? gate.primary) : undefined
  const policy: GatePolicy = {
    ...base,
    primary,
    standIn,
    guards: (spec.guards ?? []).filter((name): name is GateMetric => !isOwn(name)),
    floors: builtIn(spec.floors),
    custom: Object.keys(custom).length === 0 ? undefined : custom,
    margins: {
      ...base.margins,
      ...builtIn(spec.margins),
      ...(spec.margin === undefined || isOwn(primary) ? {} : { [primary]: spec.margin }),
    },
    top: spec.top ?? base.top,
    ...facts(label.output),
    range: rangeOf(label.output),
    evidence: { ...base.evidence, ...spec.evidence },
    slices: {
      ...base.slices,
      metric: sliceMetricFor(task, builtInPrimary({ primary, standIn })),
      ...spec.sliceLimits,
    },
    calibration: spec.calibration ?? base.calibration,
    fairness: { ...base.fairness, ...spec.fairness },
    leakage: { ...base.leakage, ...spec.leakage },
  }
  const requireKnown = (place: string, metric: string) => {
    if (!isOwn(metric) && !known.some((each) => each === metric))
      report(
        place,
        `a ${task} model has the metrics ${[...known, ...Object.keys(custom)].join(', ')}, not ${metric}`,
      )
  }
  for (const { field, message } of issuesOfWords({ evaluation: spec }, label.output)) report(field, message)
  requireKnown('evaluation.primary', primary)
  if (spec.standIn !== undefined) {
    if (!isOwn(primary))
      report(
        'evaluation.standIn',
        `${primary} is a metric of the task, so that nothing stands in for it: leave it out`,
      )
    else if (isOwn(spec.standIn))
      report(
        'evaluation.standIn',
        `${spec.standIn} is a function of this file: write one of ${known.join(', ')}`,
      )
    else requireKnown('evaluation.standIn', spec.standIn)
  }
  for (const metric of policy.guards) requireKnown('evaluation.guards', metric)
  for (const metric of Object.keys(policy.floors)) requireKnown('evaluation.floors', metric)
  for (const metric of Object.keys(spec.margins ?? {})) requireKnown('evaluation.margins', metric)
  reportUnknown(report, 'evaluation', spec, fields)
  reportUnknown(report, 'evaluation.evidence', spec.evidence, Object.keys(base.evidence))
  reportUnknown(report, 'evaluation.sliceLimits', spec.sliceLimits, Object.keys(base.slices))
  reportUnknown(report, 'evaluation.fairness', spec.fairness, Object.keys(base.fairness))
  reportUnknown(report, 'evaluation.leakage', spec.leakage, Object.keys(base.leakage))
  reportUnknown(report, 'evaluation.cost', spec.cost, ['p99', 'processor', 'memory'])
  // `margin` is the margin of the primary metric.
  const isOwnMargin = (issue: string) => spec.margin !== undefined && issue.startsWith(`margins.${primary}:`)
  for (const issue of issuesOfGate(policy)) {
    const [field = '', ...message] = issue.split(': ')
    report(`evaluation.${isOwnMargin(issue) ? 'margin' : field}`, message.join(': '))
  }
  if (Object.keys(spec.floors ?? {}).length === 0)
    report(
      'evaluation.floors',
      'at least one floor is required: the first version has no champion to compare with',
    )
  const slices = (spec.slices ?? []).map((slice) => ({ ...slice, where: withQuotedAt(slice.where) }))
  if (slices.length > 50) report('evaluation.slices', `at most 50 slices are allowed, not ${slices.length}`)
  if (new Set(slices.map(({ name }) => name)).size !== slices.length)
    report('evaluation.slices', 'a name is listed twice')
  const { groups = [], entity, baseline, breakGlass } = spec
  if (breakGlass !== undefined && typeof breakGlass !== 'boolean')
    report('evaluation.breakGlass', `true or false is required, not ${JSON.stringify(breakGlass)}`)
  const importance = compileImportance(report, spec.importance)
  return {
    policy,
    slices,
    groups: [...groups],
    entity,
    baseline,
    importance,
    ...(breakGlass === false && { breakGlass }),
  }
}

const importanceLimits: ImportancePolicy = { rows: 20_000, permutations: 200 }

function compileImportance(
  report: IssueCollector,
  spec: EvaluationSpec['importance'],
): EvaluationDefinition['importance'] {
  if (spec === undefined || spec === 'off') return spec
  if (typeof spec !== 'object' || spec === null) {
    report(
      'evaluation.importance',
      `'off' or { rows, permutations } is required, not ${JSON.stringify(spec)}`,
    )
    return undefined
  }
  reportUnknown(report, 'evaluation.importance', spec, Object.keys(defaultImportance))
  const policy = { ...defaultImportance, ...spec }
  for (const field of ['rows', 'permutations'] as const) {
    const value = policy[field]
    if (!(Number.isInteger(value) && value >= 1 && value <= importanceLimits[field]))
      report(
        `evaluation.importance.${field}`,
        `a whole number from 1 to ${importanceLimits[field]} is required, not ${JSON.stringify(value)}`,
      )
  }
  return policy
}

function rangeOf(output: Output): GatePolicy['range'] {
  const { min, max } = 'min' in output || 'max' in output ? output : {}
  return min === undefined && max === undefined ? undefined : { min, max }
}
