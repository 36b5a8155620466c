/** The report of a validation as it was stored; one of an older build may lack parts. */
import type { ColumnSummary, ExpectationResult } from '../../../domain/validation/expectations.ts'
import type { StoredValidation } from '../../../store/dashboard/data-lists.ts'

export interface Report {
  results: ExpectationResult[]
  columns: ColumnSummary[]
}

export function reportOf({ report }: StoredValidation): Report {
  const list = <T>(value: unknown): T[] => (Array.isArray(value) ? (value as T[]) : [])
  return { results: list(report['results']), columns: list(report['columns']) }
}

/** More of a report is not shown at once. */
export const maxResults = 300
