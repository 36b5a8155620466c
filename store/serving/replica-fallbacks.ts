/** Stores the fallback level of each replica and model, and lists those that alerts report. */
import sql from 'sql-template-tag'
import { fallbackLevelNames, type FallbackLevel } from '../../domain/serving/fallback-level.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface StandingFallback {
  model: string
  level: FallbackLevel
  /** Why it does not serve the champion. */
  reason: string
}

/** Stores the levels of a replica below the champion, and deletes those that it no longer reports. */
export async function writeFallbacks(
  database: Database,
  { replica, standing }: { replica: string; standing: readonly StandingFallback[] },
): Promise<void> {
  const rows = JSON.stringify(standing)
  await database.query(sql`
    with given as (select * from jsonb_to_recordset(${rows}::jsonb) as row (model text, level text, reason text)),
      gone as (
        delete from replica_fallbacks where replica_id = ${replica} and model not in (select model from given)
      )
    insert into replica_fallbacks (replica_id, model, level, reason)
    select replicas.id, given.model, given.level, given.reason from given join replicas on replicas.id = ${replica}
    on conflict (replica_id, model) do update set level = excluded.level, reason = excluded.reason, at = clock_timestamp()`)
}

/**
 * The worst fallback level of each model on any live replica, below the champion; undefined without a live replica, when nothing is
 * known.
 */
export async function listFallbacks(
  database: Database,
): Promise<(StandingFallback & { replicas: number })[] | undefined> {
  const rows = await database.query<{
    model: string | null
    level: FallbackLevel
    reason: string
    replicas: number
  }>(sql`
    select distinct on (model) model, level, reason, count(*) over (partition by model, level)::int as replicas
    from replicas left join replica_fallbacks on replica_id = id
    where lease_until > clock_timestamp()
    order by model, array_position(${[...fallbackLevelNames]}::text[], level) desc`)
  if (rows.length === 0) return undefined
  return rows.flatMap(({ model, ...row }) => (model === null ? [] : [{ model, ...row }]))
}

/** Keys of the open fallback alerts of all models. */
export const listReportedFallbacks = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select dedupe_key as key from alerts where dedupe_key like 'fallback/%' and resolved_at is null`)
