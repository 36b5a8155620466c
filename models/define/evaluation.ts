/** The gate of a model: what a challenger must reach before it may meet real traffic. */
import type { EvaluationDefinition, LabelDefinition, SliceDefinition } from '../../domain/model-definition.ts'
import {
  defaultGatePolicy,
  type GateMetric,
  type GatePolicy,
  type Margin,
  type Task,
} from '../../domain/evaluation/policy.ts'
import type { IssueCollector } from './issues.ts'

export interface EvaluationSpec {
  /** The metric the verdict is about: `auc`, `accuracy` or `rmse` by the kind of the label when absent. */
  primary?: GateMetric
  /** What every version must reach; the only gate of the first version, so at least one is wanted. */
  floors: Partial<Record<GateMetric, number>>
  /** How much worse than the champion is still "not worse", in the primary metric. */
  margin?: Margin
  /** Other metrics that must be not worse as well. */
  guards?: readonly GateMetric[]
  /** Margins of other metrics. */
  margins?: Partial<Record<GateMetric, Margin>>
  /** Fewer test rows than this decide nothing. */
  evidence?: Partial<GatePolicy['evidence']>
  /** Limits of the calibration error, or `'off'` where the output is no probability. */
  calibration?: GatePolicy['calibration']
  /** Limits between groups, where they are not as usual. */
  fairness?: Partial<GatePolicy['fairness']>
  /** Limits of what may leak, where they are not as usual. */
  leakage?: Partial<GatePolicy['leakage']>
  /** Parts of the test rows that must not get worse, e.g. `{ name: 'evening', where: "hour >= '17'" }`. At most 50. */
  slices?: readonly SliceDefinition[]
  /** By which metric slices are compared, and how much each may lose; accuracy and 0.02 when absent. */
  sliceLimits?: Partial<GatePolicy['slices']>
  /** Columns whose values are compared for fairness. */
  groups?: readonly string[]
  /** The column of who or what a row belongs to, when one has several rows. */
  entity?: string
  /**
   * A column of the source that answers without a model, such as the last value or the rate of the last hours; what every
   * challenger must beat. The shares of the classes, or the mean, when absent. Not for classes.
   */
  baseline?: string
}

export const taskOf: Record<LabelDefinition['output']['kind'], Task> = {
  probability: 'binary',
  classes: 'multiclass',
  number: 'regression',
}

const metricsOf: Record<Task, readonly GateMetric[]> = {
  binary: ['auc', 'accuracy', 'brier', 'logLoss', 'f1', 'averagePrecision'],
  multiclass: ['accuracy', 'macroF1', 'logLoss', 'brier'],
  regression: ['rmse', 'mae', 'r2'],
}

export function compileEvaluation(
  report: IssueCollector,
  spec: EvaluationSpec,
  label: LabelDefinition,
): EvaluationDefinition {
  const task = taskOf[label.output.kind]
  const base = defaultGatePolicy(task)
  const primary = spec.primary ?? base.primary
  const policy: GatePolicy = {
    ...base,
    primary,
    guards: [...(spec.guards ?? [])],
    floors: spec.floors ?? {},
    margins: {
      ...base.margins,
      ...spec.margins,
      ...(spec.margin === undefined ? {} : { [primary]: spec.margin }),
    },
    threshold: label.output.kind === 'probability' ? label.output.threshold : base.threshold,
    evidence: { ...base.evidence, ...spec.evidence },
    slices: { ...base.slices, ...spec.sliceLimits },
    calibration: spec.calibration ?? base.calibration,
    fairness: { ...base.fairness, ...spec.fairness },
    leakage: { ...base.leakage, ...spec.leakage },
  }
  const known = (place: string, metric: string) => {
    if (!metricsOf[task].some((each) => each === metric))
      report(place, `a ${task} model is judged by ${metricsOf[task].join(', ')}, not by ${metric}`)
  }
  known('evaluation.primary', primary)
  for (const metric of policy.guards) known('evaluation.guards', metric)
  for (const [metric, floor] of Object.entries(policy.floors)) {
    known('evaluation.floors', metric)
    if (!Number.isFinite(floor))
      report(`evaluation.floors.${metric}`, `a finite number is wanted, not ${floor}`)
  }
  if (Object.keys(policy.floors).length === 0)
    report(
      'evaluation.floors',
      'at least one floor is wanted: the first version has no champion to be measured by',
    )
  if (spec.baseline !== undefined && task === 'multiclass')
    report('evaluation.baseline', 'one column cannot answer with a probability for each class')
  const slices = [...(spec.slices ?? [])]
  if (slices.length > 50) report('evaluation.slices', `at most 50 are judged, not ${slices.length}`)
  if (new Set(slices.map(({ name }) => name)).size !== slices.length)
    report('evaluation.slices', 'a name stands twice')
  return {
    policy,
    slices,
    groups: [...(spec.groups ?? [])],
    entity: spec.entity,
    baseline: spec.baseline,
  }
}
