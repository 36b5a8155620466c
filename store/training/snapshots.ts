/** Stores the facts of each snapshot and the reports of its validations. Its rows are in a Parquet file of the same digest. */
import sql, { type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { ExpectationResult, ValidationVerdict } from '../../domain/validation/expectations.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface Snapshot {
  digest: string
  model: string
  /** ISO 8601: the time as of which it was first taken. Rows without times give one snapshot for every time. */
  asOf: string
  rows: number
  bytes: number
  /** Name → DuckDB type, in the order of the file. */
  columns: Record<string, string>
  /** The source of the rows: queries, and the digests of files. */
  source: Record<string, unknown>
}

/** The condition for the snapshots that a model took or validated. Models with equal rows share one, which belongs to the first. */
export const isUsedBy = (model: string): Sql => sql`(snapshots.model = ${model} or exists (
  select from validations where validations.snapshot_digest = snapshots.digest and validations.model = ${model}))`

/** The condition for the snapshots of requests, which have neither labels nor parts. */
export const isLoggedRequests: Sql = sql`coalesce(snapshots.source ->> 'kind' = 'logged requests', false)`

/** Stores a snapshot unless its digest is stored. */
export async function insertSnapshot(database: Database, each: Snapshot): Promise<void> {
  await database.query(sql`
    insert into snapshots (digest, model, as_of, rows, bytes, columns, source)
    values (${each.digest}, ${each.model}, ${each.asOf}, ${each.rows}, ${each.bytes}, ${JSON.stringify(each.columns)},
      ${JSON.stringify(each.source)})
    on conflict (digest) do update set dropped_at = null`)
}

export async function getSnapshot(database: Database, digest: string): Promise<Snapshot> {
  const found = await rowsFrom(database).find<Snapshot>(
    sql`select digest, model, as_of, rows, bytes, columns, source from snapshots where digest = ${digest}`,
  )
  if (found === undefined) throw new DomainError('not_found', `there is no snapshot ${digest}`)
  return found
}

/** One sentence for each flood on its rows; empty without floods. */
export async function listSnapshotFloods(database: Database, digest: string): Promise<string[]> {
  const found = await rowsFrom(database).find<{ floods?: string[] }>(
    sql`select source -> 'floods' as floods from snapshots where digest = ${digest}`,
  )
  return found?.floods ?? []
}

/**
 * Whether test rows of a snapshot may be training rows of an earlier one, because the two were split by different rules. False when a rule
 * is unknown, and where the first test event is younger than all rows of the earlier one. Rows without times are as old as their snapshot.
 */
export async function mayTestTrained(
  database: Database,
  { snapshot, earlier }: { snapshot: string; earlier: string },
): Promise<boolean> {
  const [found] = await database.query<{ differ: boolean | null }>(sql`
    select a.source -> 'split' <> b.source -> 'split'
      and coalesce((a.source ->> 'firstTestEvent')::timestamptz
        <= case when b.source -> 'newestEvent' is null then greatest(b.as_of, b.created_at) else b.as_of end, true) as differ
    from snapshots a, snapshots b where a.digest = ${snapshot} and b.digest = ${earlier}`)
  return found?.differ === true
}

/** Row counts of the model's other snapshots, and of those that another model had taken of equal rows before; the latest first. */
export const listEarlierRows = (
  database: Database,
  { model, except, limit = 7 }: { model: string; except: string; limit?: number },
) =>
  rowsFrom(database).column<number>(sql`
    select rows from snapshots
    where digest <> ${except} and ${isUsedBy(model)} and not ${isLoggedRequests}
    order by created_at desc limit ${limit}`)

// Stores the report of every validation, passed or failed.

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
