/** Stores the report of every validation, passed or failed. */
import sql from 'sql-template-tag'
import type { ExpectationResult, ValidationVerdict } from '../../domain/validation/expectations.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface ValidationRecord {
  id: string
  model: string
  snapshotDigest: string
  verdict: ValidationVerdict
  report: Record<string, unknown>
}

/** Stores the report unless one exists, and returns the stored one. */
export async function insertValidation(
  database: Database,
  each: ValidationRecord,
): Promise<ValidationRecord> {
  await database.query(sql`
    insert into validations (id, model, snapshot_digest, verdict, report)
    values (${each.id}, ${each.model}, ${each.snapshotDigest}, ${each.verdict}, ${JSON.stringify(each.report)})
    on conflict (id) do nothing`)
  return (await findValidation(database, each.id))!
}

/** The results of the expectations in a stored report. */
export function resultsOf({ report }: Pick<ValidationRecord, 'report'>): ExpectationResult[] {
  const { results } = report
  return Array.isArray(results) ? (results as ExpectationResult[]) : []
}

export const findValidation = (database: Database, id: string) =>
  rowsFrom(database).find<ValidationRecord>(
    sql`select id, model, snapshot_digest, verdict, report from validations where id = ${id}`,
  )
