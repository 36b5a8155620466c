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
  /** The version that it cannot load; absent for another reason. */
  version?: string
}

/** The worst level of a model. */
export interface FleetFallback extends StandingFallback {
  /** The replicas with this level. */
  replicas: string[]
  /** How many replicas have a lease. */
  live: number
}

/** Stores the levels of a replica below the champion, and deletes those that it no longer reports. */
export async function writeFallbacks(
  database: Database,
  { replica, standing }: { replica: string; standing: readonly StandingFallback[] },
): Promise<void> {
  const rows = JSON.stringify(standing)
  await database.query(sql`
    with given as (select * from jsonb_to_recordset(${rows}::jsonb) as row (model text, level text, reason text, version text)),
      gone as (
        delete from replica_fallbacks where replica_id = ${replica} and model not in (select model from given)
      )
    insert into replica_fallbacks (replica_id, model, level, reason, version)
    select replicas.id, given.model, given.level, given.reason, given.version from given join replicas on replicas.id = ${replica}
    on conflict (replica_id, model) do update set level = excluded.level, reason = excluded.reason,
      version = excluded.version, at = clock_timestamp()`)
}

/**
 * The worst fallback level of each model on any live replica, below the champion; undefined without a live replica, when nothing is
 * known.
 */
export async function listFallbacks(database: Database): Promise<FleetFallback[] | undefined> {
  const rows = await rowsFrom(database).list<Omit<FleetFallback, 'model'> & { model?: string }>(sql`
    select distinct on (model) model, level, reason, version,
      array_agg(id) over (partition by model, level) as replicas,
      (select count(*) from replicas where lease_until > clock_timestamp())::int as live
    from replicas left join replica_fallbacks on replica_id = id
    where lease_until > clock_timestamp()
    order by model, array_position(${[...fallbackLevelNames]}::text[], level) desc, id`)
  if (rows.length === 0) return undefined
  return rows.flatMap(({ model, ...row }) => (model === undefined ? [] : [{ model, ...row }]))
}

/** Keys of the open fallback alerts of all models. */
export const listReportedFallbacks = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select dedupe_key as key from alerts where dedupe_key like 'fallback/%' and resolved_at is null`)
