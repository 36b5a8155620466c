/** Stores feature views with the progress of their ingestion, and reads which views no model uses. */
import sql from 'sql-template-tag'
import type { FeatureView } from '../../domain/model/feature-view.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface StoredView {
  id: number
  name: string
  digest: string
  definition: FeatureView
  /** ISO 8601: every row that was usable by then is stored. */
  watermark?: string
  lateRows: number
  ranAt?: string
  problem?: string
  syncedAt: string
  /** The models whose file uses this definition, and the live versions that do. */
  models: string[]
  versions: string[]
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
