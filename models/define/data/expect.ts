/**
 * Defines expectations on data. A failing expectation blocks the batch unless it is wrapped in `warn(…)`. The observed values are stored
 * with every snapshot.
 */
import { snapshotColumns, type LabelDefinition } from '../../../domain/model-definition.ts'
import type { Expectation } from '../../../domain/validation/expectations.ts'
import type { Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { reportUnknown } from '../fields.ts'
import { reportRange, type IssueCollector } from '../issues.ts'
import { isOfNumbers } from '../../../domain/tasks/output.ts'
import { decisionNames, taskOf } from '../../../domain/tasks/tasks.ts'

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
export const rowsAsUsual =
  (ratios: { min: number; max: number }): ExpectSpec =>
  ({ report }) => {
    const { min, max, ...more } = ratios ?? {}
    reportRange(report, 'expect: rowsAsUsual', { min, max })
    if (!(min >= 0) || !(max > 0))
      report('expect: rowsAsUsual', 'two ratios are required, such as { min: 0.5, max: 2 }')
    return { check: 'rows_as_usual', minRatio: min, maxRatio: max, severity, ...more }
  }
/** Requires that the newest event is at most this old at `asOf`. */
export const fresh =
  (within: Duration): ExpectSpec =>
  ({ report }) => ({ check: 'fresh', withinMs: durationAt(report, 'expect: fresh', within), severity })
/** Requires that no two rows have the same values in these columns. Default: the key of the source; without one, all columns but those of the label. */
export const unique = (
  columns: readonly string[] = [snapshotColumns.key],
  options: Mostly = {},
): ExpectSpec => plain({ check: 'unique', columns, severity, ...options })
/** Requires that no value is missing in these columns; `'all'` means the label and all features that are not imputed. */
export const complete =
  (columns: 'all' | readonly string[], options: Mostly = {}): ExpectSpec =>
  ({ features }) => ({
    check: 'complete',
    columns:
      columns === 'all'
        ? [...Object.keys(features).filter((name) => !features[name]?.missing), snapshotColumns.label]
        : columns,
    severity,
    ...options,
  })
/** Requires a value in this column wherever another column has this value. */
export const completeWhen =
  (
    column: string,
    condition: { column: string; is: string | number | boolean },
    options: Mostly = {},
  ): ExpectSpec =>
  ({ report }) => {
    const { column: when, is } = condition ?? {}
    if (!['string', 'number', 'boolean'].includes(typeof is))
      report('expect: completeWhen', `a condition is required, such as { column: 'status', is: 'closed' }`)
    return { check: 'complete_when', column, when, is, severity, ...options }
  }
/** Requires that every number is finite. */
export const finite = (columns: readonly string[], options: Mostly = {}): ExpectSpec =>
  plain({ check: 'finite', columns, severity, ...options })
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
export const matches =
  (column: string, pattern: RegExp, options: Mostly = {}): ExpectSpec =>
  ({ report }) => {
    const isPattern = pattern instanceof RegExp
    if (!isPattern)
      report('expect: matches', `a pattern such as /^[A-Z]{2}$/ is required, not ${jsonText(pattern)}`)
    // A pattern with the flag g or y would search from where the last search ended.
    const { source = '', flags = '' } = isPattern ? pattern : {}
    return {
      check: 'matches',
      column,
      pattern: source,
      flags: flags.replace(/[gy]/g, ''),
      severity,
      ...options,
    }
  }
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
  (rows: { min: number }): ExpectSpec =>
  ({ label, report }) => {
    const { output } = label
    const { min, ...more } = rows ?? {}
    if (!(min >= 1)) report('expect: everyClass', 'a number of rows is required, such as { min: 30 }')
    if (isOfNumbers(output)) report('expect: everyClass', 'a quantity has no classes')
    const classes = taskOf(output).labelKind === 'text' ? decisionNames(output) : [0, 1]
    return { check: 'every_class', column: snapshotColumns.label, classes, min, severity, ...more }
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
  'check severity columns column when is values pattern flags low high q classes withinMs minRatio maxRatio'.split(
    ' ',
  )
/** Checks of single rows, to which `mostly` applies. */
const ofRows = new Set(
  'unique complete complete_when finite in_set between length matches ordered'.split(' '),
)
/** Checks that do nothing without a limit. */
const limited = new Set(['rows', 'between', 'length', 'distinct', 'mean', 'std', 'quantile', 'share'])

const jsonText = (value: unknown): string => JSON.stringify(value) ?? String(value)

export function compileExpectations(specs: readonly ExpectSpec[], place: Place): Expectation[] {
  return specs.map((spec, index) => {
    if (typeof spec !== 'function') {
      place.report(`expect[${index}]`, 'made with one of the builders: rowCount, complete, between, …')
      return { check: 'rows', severity }
    }
    const expectation = spec(place)
    const where = `expect[${index}] (${expectation.check})`
    reportArguments((message) => place.report(where, message), expectation)
    reportRange(place.report, where, expectation as Range)
    reportUnknown(
      place.report,
      where,
      Object.fromEntries(Object.entries(expectation).filter(([field]) => !madeByBuilders.includes(field))),
      ['min', 'max', ...(ofRows.has(expectation.check) ? ['mostly'] : [])],
    )
    return expectation
  })
}

/** Reports what the builders cannot use. A model file is run without a check of its types. */
function reportArguments(report: (message: string) => void, expectation: Expectation): void {
  const isName = (name: unknown) => typeof name === 'string' && name !== ''
  for (const field of ['column', 'when', 'low', 'high'])
    if (field in expectation) {
      const name = expectation[field as keyof Expectation]
      if (!isName(name)) report(`the name of a column is required, not ${jsonText(name)}`)
    }
  if ('columns' in expectation) {
    const { columns } = expectation
    if (!Array.isArray(columns) || columns.length === 0 || !columns.every(isName))
      report(`a list of columns is required, such as ['age'], not ${jsonText(columns)}`)
  }
  if (expectation.check === 'in_set' && !(Array.isArray(expectation.values) && expectation.values.length > 0))
    report(`a list of values is required, not ${jsonText(expectation.values)}`)
  const { mostly } = expectation
  if (mostly !== undefined && !(mostly > 0 && mostly <= 1))
    report(`mostly is a share above 0 and up to 1, not ${mostly}`)
  if (expectation.check === 'quantile' && !(expectation.q >= 0 && expectation.q <= 1))
    report(`a quantile from 0 to 1 is required, not ${expectation.q}`)
  if (!limited.has(expectation.check)) return
  const { min, max } = expectation as Range
  if (min === undefined && max === undefined) report('min or max is required')
  if (expectation.check === 'share' && ((min ?? 0) < 0 || (min ?? 0) > 1 || (max ?? 1) < 0 || (max ?? 1) > 1))
    report('min and max are shares from 0 to 1')
}
