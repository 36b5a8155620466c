/** Reads the stored report of a validation. */
import type { ColumnSummary, ExpectationResult } from '../../../domain/validation/expectations.ts'
import type { StoredValidation } from '../../../store/dashboard/data-lists.ts'

export interface ValidationReport {
  results: ExpectationResult[]
  columns: ColumnSummary[]
}

export function reportOf({ report }: StoredValidation): ValidationReport {
  const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : [])
  return { results: list(report['results']), columns: list(report['columns']) }
}

/** The maximum number of results and columns that a page shows. */
export const maxResults = 300
