/** Reads the snapshot pages: snapshots with their validations, and one snapshot with the versions trained on it. */
import sql from 'sql-template-tag'
import type { ValidationVerdict } from '../../domain/validation/expectations.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { Snapshot } from '../training/snapshots.ts'
import type { ValidationRecord } from '../training/validations.ts'

export interface SnapshotLine extends Pick<Snapshot, 'digest' | 'model' | 'asOf' | 'rows' | 'bytes'> {
  createdAt: string
  /** The time with microseconds, the key of the next page. */
  key: string
  /** The verdict of the last validation; absent before the first one. */
  verdict?: ValidationVerdict
  /** A few of the versions trained on the snapshot, perhaps of other models with equal rows. */
  versions: { model: string; version: string }[]
}

export interface SnapshotFilter extends ModelFilter {
  after?: { at: string; digest: string }
  limit: number
}

/** The newest first. */
export const listSnapshotLines = (database: Database, { after, limit, ...filter }: SnapshotFilter) =>
  rowsFrom(database).list<SnapshotLine>(sql`
    with page as materialized (
      select digest, model, as_of, rows, bytes, created_at from snapshots
      where ${ofModels(filter)}
        and (${after === undefined} or (created_at, digest) < (${after?.at ?? null}::timestamptz, ${after?.digest ?? null}))
      order by created_at desc, digest desc limit ${limit}
    )
    select page.*, page.created_at::text as key,
      (select verdict from validations where snapshot_digest = page.digest and validations.model = page.model
        order by created_at desc limit 1) as verdict,
      array(select jsonb_build_object('model', versions.model, 'version', version) from versions
        where lineage ->> 'snapshot' = page.digest and not drill
        order by versions.created_at desc limit 3) as versions
    from page order by created_at desc, digest desc`)

export interface StoredValidation extends Pick<ValidationRecord, 'id' | 'verdict' | 'report'> {
  createdAt: string
}

/** The validations for a model, the newest first. */
export const listValidations = (
  database: Database,
  { snapshotDigest, model, limit }: { snapshotDigest: string; model: string; limit: number },
) =>
  rowsFrom(database).list<StoredValidation>(sql`
    select id, verdict, report, created_at from validations
    where snapshot_digest = ${snapshotDigest} and model = ${model}
    order by created_at desc limit ${limit}`)

/** The newest versions trained on a snapshot. */
export const listVersionsOf = (
  database: Database,
  { snapshotDigest, limit }: { snapshotDigest: string; limit: number },
) =>
  rowsFrom(database).list<{ version: string; model: string; createdAt: string }>(sql`
    select version, model, created_at from versions where lineage ->> 'snapshot' = ${snapshotDigest} and not drill
    order by created_at desc limit ${limit}`)
