/** Tells which rows of a source are in no snapshot: a model trained on half of its rows otherwise looks like any other. */
import { groupedDigits } from '../figures.ts'
import { snapshotColumns, type ModelDefinition } from '../model-definition.ts'
import type { Expectation, ExpectationResult, ExcludedRows } from './expectations.ts'

/** The reasons with their figures, as the end of a sentence; empty without any. */
export function excludedRowsText({ rows, noEventTime, noKnownTime, pending, later }: ExcludedRows): string {
  const reasons = [
    [noEventTime, 'without the time of the event'],
    [noKnownTime, 'with a label but without the time at which it became known'],
    [pending, 'whose label is not known yet'],
    [later, 'that became known later'],
  ] as const
  const listed = reasons
    .filter(([count]) => count > 0)
    .map(([count, reason]) => `${groupedDigits(count)} ${reason}`)
  return listed.length === 0 ? '' : `; left out of ${groupedDigits(rows)} rows: ${listed.join(', ')}`
}

/** An expectation that warns of rows without a time; none for a model without times. */
export function expectedOfExcludedRows(
  { source, label }: ModelDefinition,
  excludedRows: ExcludedRows | undefined,
): Expectation[] {
  const timed = source.eventTime !== undefined || label.knownAt !== undefined
  return excludedRows === undefined || !timed ? [] : [{ check: 'left_out', excludedRows, severity: 'warn' }]
}

/** Judges an expectation of this kind; undefined for others. */
export function judgeExcludedRows(expectation: Expectation): ExpectationResult | undefined {
  if (expectation.check !== 'left_out') return undefined
  const { check, severity, excludedRows } = expectation
  const timeless = excludedRows.noEventTime + excludedRows.noKnownTime
  const subject =
    excludedRows.noEventTime > 0 || excludedRows.noKnownTime === 0
      ? snapshotColumns.eventAt
      : snapshotColumns.knownAt
  const remedy = timeless === 0 ? '' : ': fill in the times of these rows, or remove the rows'
  const listed = excludedRowsText(excludedRows).slice(2)
  const found = listed === '' ? `none of ${groupedDigits(excludedRows.rows)} rows is left out` : listed
  const judged = { check, subject, severity, passed: timeless === 0, observed: timeless, failing: timeless }
  return { ...judged, message: `${found}${remedy}`, found, required: 'none without a time' }
}
