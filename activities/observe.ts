/** Reads what the replicas have counted for a release: the only effect of a look. Judging is left to pure functions. */
import sql from 'sql-template-tag'
import type { Observation } from '../domain/observation.ts'
import type { ReleaseState } from '../domain/release.ts'
import { findTicks } from '../store/counters.ts'
import type { Database } from '../store/postgres.ts'
import type { Deps } from './deps.ts'

export async function observe(
  { store }: Pick<Deps, 'store'>,
  state: ReleaseState,
): Promise<Omit<Observation, 'watchedMs'>> {
  const [counted, staleMs] = await Promise.all([findTicks(store, state.id), findSilence(store, state)])
  return { counted, staleMs }
}

/**
 * How long the most silent live replica has written no counters for this release. A replica is given time from its own
 * start and from the last change of routing; one that is live and silent may hide a canary that fails. Null when no
 * replica is live.
 */
async function findSilence(
  database: Database,
  { id, model }: Pick<ReleaseState, 'id' | 'model'>,
): Promise<number | null> {
  const [row] = await database.query<{ silence_ms: number | null }>(sql`
    select max(extract(epoch from clock_timestamp() - greatest(started_at, routed.at, written.at)) * 1000)::float8
      as silence_ms
    from replicas
      cross join (select max(updated_at) as at from routing where model = ${model}) as routed
      left join lateral (
        select max(flushed_at) as at from tick_counters
        where tick_counters.model = ${model} and release_id = ${id} and replica_id = replicas.id) as written on true
    where lease_until > clock_timestamp()`)
  const silence = row?.silence_ms ?? null
  return silence === null ? null : Math.max(0, silence)
}
