/** Stores the values of feature views, and reads the latest values or those of a given time. Every statement may be repeated. */
import sql from 'sql-template-tag'
import type { FeatureValue, EntityValues } from '../../domain/model/feature-view.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

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
