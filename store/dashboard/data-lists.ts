/** Reads the snapshot pages: snapshots with their validations, and one snapshot with the versions trained on it. */
import sql from 'sql-template-tag'
import type { ValidationVerdict } from '../../domain/validation/expectations.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { Snapshot } from '../training/snapshots.ts'
import type { ValidationRecord } from '../training/validations.ts'

/** A model's use of a snapshot. Models with equal rows share one. */
export interface SnapshotLine extends Pick<Snapshot, 'digest' | 'model' | 'asOf' | 'rows' | 'bytes'> {
  createdAt: string
  /** The time with microseconds, the key of the next page. */
  key: string
  /** The verdict of the last validation; absent before the first one. */
  verdict?: ValidationVerdict
  /** A few of the model's versions trained on the snapshot. */
  versions: string[]
}

export interface SnapshotFilter extends ModelFilter {
  after?: { at: string; digest: string }
  /** Of snapshots. */
  limit: number
}

/** The newest first. A snapshot has a line for each model that took or validated it. */
export const listSnapshotLines = (database: Database, { after, limit, ...filter }: SnapshotFilter) =>
  rowsFrom(database).list<SnapshotLine>(sql`
    with page as materialized (
      select digest, model as owner, as_of, rows, bytes, created_at from snapshots
      where (${ofModels(filter)} or exists (
          select from validations where snapshot_digest = digest and ${ofModels(filter, 'validations.model')}))
        and (${after === undefined} or (created_at, digest) < (${after?.at ?? null}::timestamptz, ${after?.digest ?? null}))
      order by created_at desc, digest desc limit ${limit}
    )
    select page.*, page.created_at::text as key, uses.model,
      (select verdict from validations where snapshot_digest = page.digest and validations.model = uses.model
        order by created_at desc limit 1) as verdict,
      array(select version from versions
        where lineage ->> 'snapshot' = page.digest and versions.model = uses.model and not drill
        order by versions.created_at desc limit 3) as versions
    from page cross join lateral (
      select owner as model union select model from validations where snapshot_digest = page.digest
    ) uses
    where ${ofModels(filter, 'uses.model')}
    order by created_at desc, digest desc, uses.model`)

/** The models that took or validated a snapshot, the one that took it first. */
export const listSnapshotModels = (database: Database, digest: string) =>
  rowsFrom(database).column<string>(sql`
    select model from (
      select model, 0 as place from snapshots where digest = ${digest}
      union all select model, 1 from validations where snapshot_digest = ${digest}
    ) uses group by model order by min(place), model`)

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

/** The newest versions of a model that were trained on a snapshot. */
export const listVersionsOf = (
  database: Database,
  { snapshotDigest, model, limit }: { snapshotDigest: string; model: string; limit: number },
) =>
  rowsFrom(database).column<string>(sql`
    select version from versions
    where lineage ->> 'snapshot' = ${snapshotDigest} and model = ${model} and not drill
    order by created_at desc limit ${limit}`)
