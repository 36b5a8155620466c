/**
 * Defines expectations on data. A failing expectation blocks the batch unless it is wrapped in `warn(…)`. The observed values are stored
 * with every snapshot.
 */
import { snapshotColumns, type LabelDefinition } from '../../../domain/model-definition.ts'
import type { Expectation } from '../../../domain/validation/expectations.ts'
import { isOfNumbers, type Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { reportUnknown } from '../fields.ts'
import { reportRange, type IssueCollector } from '../issues.ts'

interface Range {
  min?: number
  max?: number
}
interface Mostly {
  /** The share of rows that must comply. Default: 1. */
  mostly?: number
}

/** The facts of a model file that its expectations use. */
interface Place {
  report: IssueCollector
  features: Features
  label: LabelDefinition
}
export type ExpectSpec = (place: Place) => Expectation

const plain =
  (expectation: Expectation): ExpectSpec =>
  () =>
    expectation
const severity = 'block' as const

/** Reports a failure without stopping the retraining. */
export const warn =
  (spec: ExpectSpec): ExpectSpec =>
  (place) => ({ ...spec(place), severity: 'warn' })

/** Requires that the number of rows lies within these limits. */
export const rowCount = (range: Range): ExpectSpec => plain({ check: 'rows', ...range, severity })
/** Requires about as many rows as in the last runs: `rowsAsUsual({ min: 0.5, max: 2 })`, as ratios to their median. */
export const rowsAsUsual = ({ min, max }: { min: number; max: number }): ExpectSpec =>
  plain({ check: 'rows_as_usual', minRatio: min, maxRatio: max, severity })
/** Requires that the newest event is at most this old at `asOf`. */
export const fresh =
  (within: Duration): ExpectSpec =>
  ({ report }) => ({ check: 'fresh', withinMs: durationAt(report, 'expect: fresh', within), severity })
/** Requires that no two rows have the same values in these columns. Default: the key of the source; without one, all columns but those of the label. */
export const unique = (
  columns: readonly string[] = [snapshotColumns.key],
  options: Mostly = {},
): ExpectSpec => plain({ check: 'unique', columns: [...columns], severity, ...options })
/** Requires that no value is missing in these columns; `'all'` means the label and all features that are not imputed. */
export const complete =
  (columns: 'all' | readonly string[], options: Mostly = {}): ExpectSpec =>
  ({ features }) => ({
    check: 'complete',
    columns:
      columns === 'all'
        ? [...Object.keys(features).filter((name) => !features[name]?.missing), snapshotColumns.label]
        : [...columns],
    severity,
    ...options,
  })
/** Requires a value in this column wherever another column has this value. */
export const completeWhen = (
  column: string,
  condition: { column: string; is: string | number | boolean },
  options: Mostly = {},
): ExpectSpec =>
  plain({ check: 'complete_when', column, when: condition.column, is: condition.is, severity, ...options })
/** Requires that every number is finite. */
export const finite = (columns: readonly string[], options: Mostly = {}): ExpectSpec =>
  plain({ check: 'finite', columns: [...columns], severity, ...options })
/** Requires that every value is one of these. */
export const inSet = (
  column: string,
  values: readonly (string | number)[],
  options: Mostly = {},
): ExpectSpec => plain({ check: 'in_set', column, values, severity, ...options })
/** Requires that every number lies within these limits. */
export const between = (column: string, options: Range & Mostly): ExpectSpec =>
  plain({ check: 'between', column, severity, ...options })
/** Requires that every text has a length within these limits. */
export const textLength = (column: string, options: Range & Mostly): ExpectSpec =>
  plain({ check: 'length', column, severity, ...options })
/** Requires that every text matches the pattern. */
export const matches = (column: string, pattern: RegExp, options: Mostly = {}): ExpectSpec =>
  plain({ check: 'matches', column, pattern: pattern.source, severity, ...options })
/** Requires that the number of distinct values of a column lies within these limits. */
export const distinct = (column: string, range: Range): ExpectSpec =>
  plain({ check: 'distinct', column, severity, ...range })
/** Requires that the mean of a column lies within these limits. */
export const mean = (column: string, range: Range): ExpectSpec =>
  plain({ check: 'mean', column, severity, ...range })
/** Requires that the standard deviation of a column lies within these limits. */
export const deviation = (column: string, range: Range): ExpectSpec =>
  plain({ check: 'std', column, severity, ...range })
/** Requires that a quantile of a column lies within these limits: `quantile('price', 0.95, { max: 1000 })`. */
export const quantile = (column: string, q: number, range: Range): ExpectSpec =>
  plain({ check: 'quantile', column, q, severity, ...range })
/** Requires at least this many rows of every class of the label. */
export const everyClass =
  ({ min }: { min: number }): ExpectSpec =>
  ({ label, report }) => {
    const { output } = label
    if (isOfNumbers(output)) report('expect: everyClass', 'a quantity has no classes')
    const classes = output.kind === 'classes' ? output.classes : [0, 1]
    return { check: 'every_class', column: snapshotColumns.label, classes, min, severity }
  }
/** Requires that the share of rows whose label is true lies within these limits. */
export const positiveRate = (range: Range): ExpectSpec =>
  plain({ check: 'share', column: snapshotColumns.label, severity, ...range })
/** Requires that one column is never above another. */
export const ordered = (low: string, high: string, options: Mostly = {}): ExpectSpec =>
  plain({ check: 'ordered', low, high, severity, ...options })
/** Requires that no label was known before its event, which would leak the future. */
export const labelAfterEvent = (options: Mostly = {}): ExpectSpec =>
  plain({
    check: 'ordered',
    low: snapshotColumns.eventAt,
    high: snapshotColumns.knownAt,
    severity,
    ...options,
  })

/** Fields of an expectation that are arguments or results of its builder; the rest are options. */
const madeByBuilders =
  'check severity columns column when is values pattern low high q classes withinMs minRatio maxRatio'.split(
    ' ',
  )

export function compileExpectations(specs: readonly ExpectSpec[], place: Place): Expectation[] {
  return specs.map((spec, index) => {
    if (typeof spec !== 'function') {
      place.report(`expect[${index}]`, 'made with one of the builders: rowCount, complete, between, …')
      return { check: 'rows', severity }
    }
    const expectation = spec(place)
    const where = `expect[${index}] (${expectation.check})`
    if ('min' in expectation || 'max' in expectation) reportRange(place.report, where, expectation as Range)
    reportUnknown(
      place.report,
      where,
      Object.fromEntries(Object.entries(expectation).filter(([field]) => !madeByBuilders.includes(field))),
      ['min', 'max', 'mostly'],
    )
    const { mostly } = expectation
    if (mostly !== undefined && !(mostly > 0 && mostly <= 1))
      place.report(where, `mostly is a share above 0 and up to 1, not ${mostly}`)
    if (expectation.check === 'quantile' && !(expectation.q >= 0 && expectation.q <= 1))
      place.report(where, `a quantile from 0 to 1 is required, not ${expectation.q}`)
    return expectation
  })
}
