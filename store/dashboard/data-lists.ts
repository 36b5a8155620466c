/** Reads the snapshot pages: snapshots with their validations, and one snapshot with the versions trained on it. */
import sql from 'sql-template-tag'
import type { ValidationVerdict } from '../../domain/validation/expectations.ts'
import { fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface SnapshotLine {
  digest: string
  model: string
  asOf: string
  rows: number
  bytes: number
  createdAt: string
  /** To the microsecond, for the next page. */
  key: string
  /** Of its last validation; absent before one. */
  verdict?: ValidationVerdict
  /** What was trained on it, at most a few. */
  versions: string[]
}

export interface SnapshotFilter {
  models?: readonly string[]
  model?: string
  after?: { at: string; digest: string }
  limit: number
}

/** The newest first. */
export async function listSnapshotLines(
  database: Database,
  { models, model, after, limit }: SnapshotFilter,
): Promise<SnapshotLine[]> {
  const rows = await database.query(sql`
    with page as materialized (
      select digest, model, as_of, rows, bytes, created_at from snapshots
      where (${models === undefined} or model = any(${[...(models ?? [])]}::text[]))
        and (${model ?? null}::text is null or model = ${model ?? null})
        and (${after === undefined} or (created_at, digest) < (${after?.at ?? null}::timestamptz, ${after?.digest ?? null}))
      order by created_at desc, digest desc limit ${limit}
    )
    select page.*, page.created_at::text as key,
      (select verdict from validations where snapshot_digest = page.digest order by created_at desc limit 1) as verdict,
      array(select version from versions where lineage ->> 'snapshot' = page.digest and not drill
        order by created_at desc limit 3) as versions
    from page order by created_at desc, digest desc`)
  return rows.map(fromRow<SnapshotLine>)
}

export interface StoredValidation {
  id: string
  verdict: ValidationVerdict
  report: Record<string, unknown>
  createdAt: string
}

/** The last ones, the newest first. */
export async function listValidations(
  database: Database,
  { snapshotDigest, limit }: { snapshotDigest: string; limit: number },
): Promise<StoredValidation[]> {
  const rows = await database.query(sql`
    select id, verdict, report, created_at from validations where snapshot_digest = ${snapshotDigest}
    order by created_at desc limit ${limit}`)
  return rows.map(fromRow<StoredValidation>)
}

/** The newest versions that were trained on a snapshot. */
export async function listVersionsOf(
  database: Database,
  { snapshotDigest, limit }: { snapshotDigest: string; limit: number },
): Promise<{ version: string; model: string; createdAt: string }[]> {
  const rows = await database.query(sql`
    select version, model, created_at from versions where lineage ->> 'snapshot' = ${snapshotDigest} and not drill
    order by created_at desc limit ${limit}`)
  return rows.map(fromRow<{ version: string; model: string; createdAt: string }>)
}
