/** Stores feature views with the progress of their ingestion, and reads which views no model uses. */
import sql from 'sql-template-tag'
import type { FeatureView, FeatureValue, EntityValues } from '../../domain/model/feature-view.ts'
import * as schema from '../../domain/schema.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export const viewRow = schema.record(
  {
    name: schema.text,
    digest: schema.text,
    lateRows: schema.count,
    syncedAt: schema.time,
    /** The models whose file uses this definition, and the live versions that do. */
    models: schema.list(schema.text),
    versions: schema.list(schema.text),
  },
  {
    /** Every row that was usable by then is stored. */
    watermark: schema.time,
    ranAt: schema.time,
    problem: schema.text,
  },
)
export interface StoredView extends schema.TypeOf<typeof viewRow> {
  id: number
  definition: FeatureView
}

/** Stores a view. For a stored digest, only the schedule and the periods of the ingestion change. */
export async function upsertView(database: Database, definition: FeatureView): Promise<void> {
  await database.query(sql`
    insert into feature_views (name, digest, definition)
    values (${definition.name}, ${definition.digest}, ${JSON.stringify(definition)})
    on conflict (digest) do update set definition = excluded.definition, synced_at = now()
    where feature_views.definition <> excluded.definition`)
}

// Live versions, and those that a rollback would return to: all versions in a route.
const selected = sql`
  select feature_views.*,
    array(select models.name from models
      where jsonb_path_exists(models.definition, '$.views[*] ? (@.digest == $digest)', jsonb_build_object('digest', digest))
      order by 1) as models,
    array(select versions.version from versions join routing using (model)
      where jsonb_path_exists(versions.manifest, '$.features.*.from ? (@.digest == $digest)', jsonb_build_object('digest', digest))
        and versions.version in (
          select jsonb_path_query(route, '$.**.version') #>> '{}' union select route ->> 'proven' union select route ->> 'standby')
      order by 1) as versions
  from feature_views`

/** Ordered by name, the newest definition first. */
export const listViews = (
  database: Database,
  { name, limit = 1_000 }: { name?: string; limit?: number } = {},
) =>
  rowsFrom(database).list<StoredView>(sql`
    ${selected} where ${name ?? null}::text is null or name = ${name ?? null}
    order by name, synced_at desc, id desc limit ${limit}`)

export const findView = (database: Database, digest: string) =>
  rowsFrom(database).find<StoredView>(sql`${selected} where digest = ${digest}`)

/**
 * Whether this definition would change a view that models other than these use. Asked outside of the scope of a key, because a model that is
 * hidden from it would count as absent.
 */
export const changesViewOfOthers = async (
  database: Database,
  { view, models }: { view: FeatureView; models: readonly string[] },
): Promise<boolean> =>
  (await rowsFrom(database).value<boolean>(
    sql`select changes_view_of_others(${JSON.stringify(view)}::jsonb, ${models}::text[])`,
  )) === true

/** Whether a model file or a live version uses the view. */
export const isUsed = ({ models, versions }: StoredView): boolean => models.length + versions.length > 0

/** Records the result of a run. */
export async function recordRun(
  database: Database,
  { id, problem }: { id: number; problem?: string },
): Promise<void> {
  await database.query(
    sql`update feature_views set ran_at = now(), problem = ${problem ?? null} where id = ${id}`,
  )
}

// Reads the feature values that were known of an entity at a given time, as training sees them.

type StoredValue = Omit<ViewRow, 'entity'>

/** The values of one entity that were known at a time, as training sees them; the latest event first. */
export const listValues = (
  database: Database,
  { viewId, entity, at, limit }: { viewId: number; entity: string; at: string; limit: number },
) =>
  rowsFrom(database).list<StoredValue>(sql`
    select event_at, known_at, usable_at, features from feature_history
    where view_id = ${viewId} and entity = ${entity} and usable_at <= ${at}::timestamptz
    order by event_at desc, known_at desc limit ${limit}`)

/** The statement that reads the history for a training: values usable by `until`, of events since `since`. */
export function historyQuery(view: {
  viewId: number
  values: Record<string, 'number' | 'category'>
  sinceIso: string | undefined
  untilIso: string
}): string {
  const columns = Object.entries(view.values).map(
    ([name, kind]) =>
      `${kind === 'number' ? `(features->>'${name}')::float8` : `features->>'${name}'`} as "${name}"`,
  )
  return `select entity, event_at, known_at, usable_at, ${columns.join(', ')} from feature_history
    where view_id = ${view.viewId} and usable_at <= timestamptz '${view.untilIso}'
      ${view.sinceIso === undefined ? '' : `and event_at >= timestamptz '${view.sinceIso}'`}`
}

// Stores the values of feature views, and reads the latest values or those of a given time. Every statement may be repeated.

/** One value of a view. Times are ISO 8601 with microseconds, because two values may differ in nothing else. */
export interface ViewRow {
  entity: string
  eventAt: string
  knownAt: string
  /** The later of the two times. */
  usableAt: string
  features: Record<string, FeatureValue>
}

/**
 * Adds rows, updates the newest values, and advances the watermark to the given time or to just before the last row. A stored row stays
 * unchanged. A row that was usable by the watermark came late: it is usable from `asOf` on, and after the watermark, because a training as of
 * the watermark may have read the view without it. The caller holds the lock of the view (`lockView`), because a concurrent run may otherwise
 * advance the watermark meanwhile.
 */
export async function insertValues(
  database: Database,
  run: { viewId: number; asOf: string; watermark: string | undefined },
  rows: readonly ViewRow[],
): Promise<{ added: number; late: number }> {
  const [counted] = await database.query<{ added: number; late: number }>(sql`
    with sent as (
      select * from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
        as sent (entity text, "eventAt" timestamptz, "knownAt" timestamptz, "usableAt" timestamptz, features jsonb)
    ), view as (
      select watermark from feature_views where id = ${run.viewId}
    ), added as (
      insert into feature_history (view_id, entity, event_at, known_at, usable_at, features)
      select ${run.viewId}, entity, "eventAt", "knownAt",
        case when "usableAt" <= watermark then greatest(watermark + interval '1 microsecond', ${run.asOf}::timestamptz)
          else "usableAt" end,
        features
      from view cross join sent
      on conflict do nothing returning entity, event_at, known_at, usable_at, features
    ), moved as (
      insert into feature_latest as newest (view_id, entity, event_at, known_at, features)
      select distinct on (entity) ${run.viewId}::integer, entity, event_at, known_at, features
      from added order by entity, event_at desc, known_at desc
      on conflict (view_id, entity) do update
        set event_at = excluded.event_at, known_at = excluded.known_at, features = excluded.features
        where (newest.event_at, newest.known_at) < (excluded.event_at, excluded.known_at)
    ), counted as (
      select count(*) as added, count(*) filter (where usable_at > greatest(event_at, known_at)) as late from added
    )
    update feature_views
    set watermark = greatest(watermark, ${run.watermark ?? null}::timestamptz,
        case when ${run.watermark ?? null}::timestamptz is null
          then (select max("usableAt") from sent) - interval '1 microsecond' end),
      late_rows = late_rows + counted.late
    from counted where id = ${run.viewId} returning counted.added, counted.late`)
  return counted ?? { added: 0, late: 0 }
}

export interface EntityKey {
  digest: string
  entity: string
}

/** The newest values of entities; entities without values are left out. */
export async function findLatestValues(
  database: Database,
  asked: readonly EntityKey[],
): Promise<(EntityKey & EntityValues)[]> {
  return database.query<EntityKey & EntityValues>(sql`
    select digest, entity, extract(epoch from event_at)::float8 * 1000 as "eventMs", features as "values"
    from unnest(${asked.map(({ digest }) => digest)}::text[], ${asked.map(({ entity }) => entity)}::text[])
        as asked (digest, entity)
      join (select id as view_id, digest from feature_views) as views using (digest)
      join feature_latest using (view_id, entity)`)
}

/** The number of entities with a value, and the number of values. An exact count; an estimate would suffice for a large history. */
export async function countValues(
  database: Database,
  viewId: number,
): Promise<{ entities: number; newest?: string }> {
  const counted = await rowsFrom(database).find<{ entities: number; newest?: string }>(sql`
    select count(*)::float8 as entities, max(event_at) as newest from feature_latest where view_id = ${viewId}`)
  return counted!
}

/** Deletes at most `limit` values whose event is older than a time. Returns the number deleted. */
export async function deleteOldValues(
  database: Database,
  { viewId, before, limit = 5_000 }: { viewId: number; before: string; limit?: number },
): Promise<number> {
  const rows = await database.query(sql`
    with old as (
      delete from feature_history where ctid = any(array(
        select ctid from feature_history
        where view_id = ${viewId} and usable_at < ${before}::timestamptz and event_at < ${before}::timestamptz limit ${limit}))
      returning 1
    ), gone as (
      delete from feature_latest where view_id = ${viewId} and event_at < ${before}::timestamptz
    )
    select 1 from old`)
  return rows.length
}
