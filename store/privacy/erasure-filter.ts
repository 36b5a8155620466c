/**
 * Keeps rows of erased persons out of the prediction log that come back from a disk, where they have waited for a database that
 * was away. Without it a person would be in the log again as soon as the last replica is back.
 */
import type pg from 'pg'
import { hasErasures } from './erased-subjects.ts'
import type { Database } from '../postgres.ts'
import type { ErasureFilter } from '../serving/prediction-log.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'

/** Nothing as long as nobody was erased: most installations never pay for it. */
export async function findErasureFilter(
  database: Database,
  { key }: SubjectKey,
): Promise<ErasureFilter | undefined> {
  if (!(await hasErasures(database))) return undefined
  return async (client: pg.ClientBase) => {
    const { rowCount } = await client.query(
      `with gone as (
         delete from arrived using erasures, models, versions
         where erasures.model = arrived.model and models.name = arrived.model and versions.version = arrived.version
           and arrived.at < erasures.requested_at + interval '1 minute'
           and (arrived.id = any(erasures.requests) or belongs_to_subject($1, erasures.subject_hash, models.definition ->> 'subject',
             coalesce(versions.manifest -> 'preprocessing', '[]'), arrived.routing_key, arrived.features, arrived.instances))
         returning arrived.id
       ), gone_outcomes as (
         delete from outcomes where request_id in (select id from gone)
       ), remembered as (
         insert into erased_requests (id) select id from gone on conflict do nothing
       )
       select from gone`,
      [key],
    )
    return rowCount ?? 0
  }
}
