/** Defines labels: what the model learns to predict, the column of the value, and the time at which it became known. */
import type { LabelDefinition } from '../../domain/model-definition.ts'
import type { Features } from '../../domain/model/features.ts'
import { reportUnknown } from './fields.ts'
import { reportDistinct, reportRange, type IssueCollector } from './issues.ts'

interface LabelOptions {
  /** The column of the source; `label` when absent. */
  column?: string
  /** The column with the time at which the label became known. Rows known later than `asOf` are omitted. */
  knownAt?: string
}

/** One of several classes: `oneOf(['setosa', 'versicolor', 'virginica'])`. */
export function oneOf(classes: readonly string[], options: LabelOptions = {}): LabelDefinition {
  return { column: 'label', ...options, output: { kind: 'classes', classes } }
}

/** True or false: the model predicts the probability of true. */
export function yesNo(
  options: LabelOptions & {
    /** The name of true in predictions. */
    positive: string
    /** The probability from which a prediction is positive; 0.5 when absent. */
    threshold?: number
  },
): LabelDefinition {
  const { positive, threshold = 0.5, ...rest } = options
  return { column: 'label', ...rest, output: { kind: 'probability', positive, threshold } }
}

/** A number: `quantity({ unit: 'min', min: 0 })`. */
export function quantity(
  options: LabelOptions & { unit?: string; min?: number; max?: number } = {},
): LabelDefinition {
  const { unit, min, max, ...rest } = options
  return { column: 'label', ...rest, output: { kind: 'number', unit, min, max } }
}

const optionsOf = {
  classes: [],
  probability: ['positive', 'threshold'],
  number: ['unit', 'min', 'max'],
} as const

export function checkLabel(report: IssueCollector, label: LabelDefinition, features: Features): void {
  const { output, column, knownAt: _knownAt, ...more } = label
  reportUnknown(report, 'label', more, ['column', 'knownAt', ...optionsOf[output.kind]])
  if (typeof column !== 'string' || column === '') report('label.column', 'the name of a column is required')
  if (column in features) report('label.column', `${column} is also a feature: the model would see its label`)
  if (label.knownAt !== undefined && label.knownAt in features)
    report('label.knownAt', `${label.knownAt} is also a feature: it is unknown at prediction time`)
  if (output.kind === 'classes') reportDistinct(report, 'label', output.classes, 2)
  if (output.kind === 'number') reportRange(report, 'label', output)
  if (output.kind === 'probability') {
    if (!(output.threshold > 0 && output.threshold < 1))
      report('label.threshold', `a number between 0 and 1 is required, not ${output.threshold}`)
    if (typeof output.positive !== 'string' || output.positive === '')
      report('label.positive', 'the name of the positive class is required')
  }
}
