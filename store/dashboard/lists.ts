/** Reads the lists of the pages: alerts, data, models and the results of a search. */
import sql, { raw } from 'sql-template-tag'
import { kindsThatEnd } from '../../domain/monitoring/alert-kinds.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'
import type { ValidationVerdict } from '../../domain/validation/expectations.ts'
import type { Snapshot, ValidationRecord } from '../training/snapshots.ts'
import { isListedModel } from '../maintenance/expected-work.ts'

export interface ShownAlert extends Alert {
  /** The note of the newest acknowledgement. */
  note?: string
}

export interface ResolvedAlert extends ShownAlert {
  /** Absent where its cause has ended. */
  resolvedBy?: string
  resolvedNote?: string
}

const audited = (what: string, action: string) =>
  raw(
    `(select ${what} from audit where subject = 'alert/' || alerts.id and action = 'alert.${action}' order by seq desc limit 1)`,
  )
const note = audited(`detail ->> 'reason'`, 'acknowledged')

interface AlertFilter extends ModelFilter {
  kind?: string
  limit: number
}
const ofKind = ({ kind = null }: { kind?: string | null }) => sql`(${kind}::text is null or kind = ${kind})`

/** The open alerts of a group, the newest first. */
export const listAlertsOfGroup = (
  database: Database,
  { model = null, kind, limit }: { model?: string | null; kind: string; limit: number },
) =>
  rowsFrom(database).list<ShownAlert>(sql`
    select *, ${note} as note from alerts where resolved_at is null and model is not distinct from ${model} and kind = ${kind}
    order by id desc limit ${limit}`)

/** The newest first, without what releases asked and news of them; with `before`, only those before that id. */
export const listResolvedAlerts = (
  database: Database,
  { before, limit, ...filter }: AlertFilter & { before?: number },
) =>
  rowsFrom(database).list<ResolvedAlert>(sql`
    select *, ${note} as note, ${audited('actor', 'resolved')} as resolved_by,
      ${audited(`detail ->> 'reason'`, 'resolved')} as resolved_note
    from alerts
    where resolved_at is not null and kind <> all(${kindsThatEnd('answered', 'notice')}::text[])
      and ${ofModel(filter)} and ${ofKind(filter)} and (${before ?? null}::bigint is null or id < ${before ?? null})
    order by id desc limit ${limit}`)

// Reads the snapshot pages: snapshots with their validations, and one snapshot with the versions trained on it.

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

/** The newest first. A snapshot has a line for each model that took or validated it, and that the key may see. */
export const listSnapshotLines = (database: Database, { after, limit, ...filter }: SnapshotFilter) =>
  rowsFrom(database).list<SnapshotLine>(sql`
    with page as materialized (
      select digest, model as owner, as_of, rows, bytes, created_at from snapshots
      where (${ofModel(filter)} or exists (
          select from validations where snapshot_digest = digest and ${ofModel(filter, 'validations.model')}))
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
      select name as model from models where name = owner
      union select model from validations where snapshot_digest = page.digest
    ) uses
    where ${ofModel(filter, 'uses.model')}
    order by created_at desc, digest desc, uses.model`)

/** The models that took or validated a snapshot, and that the key may see; the one that took it first. */
export const listSnapshotModels = (database: Database, digest: string) =>
  rowsFrom(database).column<string>(sql`
    select model from (
      select name as model, 0 as place from models where name = (select model from snapshots where digest = ${digest})
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

// Reads one line per model: its champion, its newest version and its last retraining.

export interface ModelListItem {
  model: string
  about?: string
  champion?: { version: string; since: string; releaseId?: string }
  /** The newest registered version, without those of drills. */
  latest?: { version: string; createdAt: string }
  retrained?: { startedAt: string; outcome?: string }
  syncedAt: string
}

/** Ordered by name; with `after`, only the models after that name. */
export const listModelLines = (database: Database, { after, limit }: { after?: string; limit: number }) =>
  rowsFrom(database).list<ModelListItem>(sql`
    select models.name as model, models.definition ->> 'about' as about, models.synced_at, champions.version as "champion.version",
      champions.since as "champion.since", champions.release_id as "champion.release_id", newest.version as "latest.version",
      newest.created_at as "latest.created_at", retrained.started_at as "retrained.started_at",
      retrained.outcome as "retrained.outcome"
    from models
      left join champions on champions.model = models.name
      left join lateral (select version, created_at from versions where versions.model = models.name and not drill
        order by created_at desc, version desc limit 1) as newest on true
      left join lateral (select started_at, outcome from retrainings where retrainings.model = models.name
        order by started_at desc limit 1) as retrained on true
    where (${after ?? null}::text is null or models.name > ${after ?? null}) and ${isListedModel}
    order by models.name limit ${limit}`)

/** Searches models, versions, releases, runs and audit entries by words, with one statement and a bounded number of rows. */
export const foundKinds = ['model', 'version', 'release', 'retraining', 'sweep', 'audit'] as const

export const searchRow = schema.record(
  {
    kind: schema.oneOf(...foundKinds),
    /** A name, an id or a number, which identifies the row. */
    id: schema.text,
    name: schema.text,
  },
  { model: schema.text, detail: schema.text, at: schema.time },
)
export type SearchRow = schema.TypeOf<typeof searchRow>

/** Only the newest audit entries are searched, because there may be millions. */
export const searchedAudit = 20_000

/** An `ilike` pattern that matches a word literally. */
const patternFor = (word: string): string => `%${word.replaceAll(/[\\%_]/g, '\\$&')}%`

/** Rows that contain every word: names that begin with the first word come first, then the newest; at most `limit` of each kind. */
export function searchRows(
  database: Database,
  { words, limit }: { words: readonly string[]; limit: number },
): Promise<SearchRow[]> {
  const patterns = words.map(patternFor)
  const has = (text: ReturnType<typeof sql>) => sql`${text} ilike all (${patterns}::text[])`
  return rowsFrom(database).list<SearchRow>(sql`
    select kind, id, model, name, detail, at from (
      (select 1 as place, 'model' as kind, name as id, name as model, name, definition ->> 'about' as detail, null::timestamptz as at
        from models where ${has(sql`concat_ws(' ', name, definition ->> 'about')`)}
        order by name limit ${limit})
      union all
      (select 2, 'version', version, model, version, case when drill then 'drill' else 'by ' || created_by end, created_at
        from versions where ${has(sql`version`)}
        order by created_at desc limit ${limit})
      union all
      (select 3, 'release', id, model, version, concat_ws(': ', coalesce(outcome, stage), reason), started_at
        from releases where ${has(sql`concat_ws(' ', id, version, outcome, stage, requested_by, reason)`)}
        order by started_at desc limit ${limit})
      union all
      (select 4, 'retraining', id, model, id, concat_ws(': ', coalesce(outcome, 'running'), message), started_at
        from retrainings where ${has(sql`concat_ws(' ', id, reason, outcome, requested_by, message, version)`)}
        order by started_at desc limit ${limit})
      union all
      (select 5, 'sweep', id, model, id, concat_ws(': ', coalesce(outcome, 'running'), message), started_at
        from sweeps where ${has(sql`concat_ws(' ', id, model, outcome, requested_by, message)`)}
        order by started_at desc limit ${limit})
      union all
      (select 6, 'audit', seq::text, model, action, concat_ws(' ', subject, 'by', actor), at
        from audit where seq > (select coalesce(max(seq), 0) - ${searchedAudit} from audit)
          and ${has(sql`concat_ws(' ', action, subject, actor)`)}
        order by seq desc limit ${limit})
    ) as found
    order by name not ilike ${patternFor(words[0] ?? '').slice(1)}, place, at desc nulls last, id`)
}
