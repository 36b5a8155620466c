/** Compiles the weights of training rows. */
import { isOfNumbers } from '../../../domain/tasks/output.ts'
import type { LabelDefinition } from '../../../domain/model-definition.ts'
import type { RowWeights } from '../../../domain/training/row-weights.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { decisionNames } from '../../../domain/tasks/tasks.ts'

export interface WeightsSpec {
  /** The column of the source with the weight of a row: a number of at least 0. The gate weights the test rows by it too. */
  column?: string
  /**
   * The weight of each class, 1 for a class not listed, or `'balanced'`, which gives every class the same sum. For `yesNo`, the classes are
   * its `positive` and `not` followed by that name.
   */
  classes?: 'balanced' | Readonly<Record<string, number>>
}

const fields = fieldNames<WeightsSpec>({ column: 0, classes: 0 })

export function compileWeights(
  report: IssueCollector,
  spec: WeightsSpec,
  { output }: LabelDefinition,
): RowWeights {
  reportUnknown(report, 'weights', spec, fields)
  const { column, classes } = spec
  if (column === undefined && classes === undefined)
    report('weights', "{ column: 'weight' } or { classes: 'balanced' } is required")
  if (column !== undefined && (typeof column !== 'string' || column === '' || column.length > 100))
    report('weights.column', 'the name of a column of the source, of up to 100 characters')
  if (classes === undefined || classes === 'balanced') {
    if (classes !== undefined && isOfNumbers(output))
      report('weights.classes', 'a number has no classes: give the weight of each row by a column')
    return { column, classes }
  }
  if (typeof classes !== 'object' || classes === null) {
    report(
      'weights.classes',
      `'balanced' or a weight for each class is required, not ${JSON.stringify(classes)}`,
    )
    return { column }
  }
  const known = decisionNames(output)
  for (const [name, weight] of Object.entries(classes)) {
    if (!known.includes(name))
      report(
        'weights.classes',
        known.length === 0
          ? `a number has no classes, such as "${name}": give the weight of each row by a column`
          : `"${name}" is not a class; the classes are ${known.map((each) => `"${each}"`).join(', ')}`,
      )
    if (!(Number.isFinite(weight) && weight >= 0))
      report(`weights.classes.${name}`, `a number of at least 0 is required, not ${weight}`)
  }
  return { column, classes: { ...classes } }
}
