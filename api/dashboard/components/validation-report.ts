/** Reads the stored report of a validation. */
import type { ColumnSummary, ExpectationResult } from '../../../domain/validation/expectations.ts'
import { resultsOf } from '../../../store/training/snapshots.ts'
import { snapshotColumns } from '../../../domain/model-definition.ts'
import type { StoredValidation } from '../../../store/dashboard/lists.ts'

export interface ValidationReport {
  results: ExpectationResult[]
  columns: ColumnSummary[]
}

export function reportOf(stored: StoredValidation): ValidationReport {
  const { columns } = stored.report
  return { results: resultsOf(stored), columns: Array.isArray(columns) ? (columns as ColumnSummary[]) : [] }
}

/** The maximum number of results and columns that a page shows. */
export const maxResults = 300

const columnNames: Readonly<Record<string, string>> = {
  [snapshotColumns.label]: 'label',
  [snapshotColumns.eventAt]: 'event time',
  [snapshotColumns.knownAt]: 'known at',
  [snapshotColumns.key]: 'key',
  [snapshotColumns.part]: 'part',
}

/** Names the columns of an expectation or a summary; those that every snapshot has by their role: `_label_2` → `label 2`. */
export const columnText = (columns: string): string =>
  columns
    .split(', ')
    .map((column) => columnNames[column] ?? column.replace(/^_label_(\d+)$/, 'label $1'))
    .join(', ')
