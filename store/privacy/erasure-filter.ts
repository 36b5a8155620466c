/**
 * Builds the filter that keeps spooled rows of erased subjects out of the prediction log. Otherwise a replica that returns after an
 * outage would store them again.
 */
import type pg from 'pg'
import { scoredDay } from '../serving/erased-batch-rows.ts'
import { hasErasures } from './erased-subjects.ts'
import type { Database } from '../postgres.ts'
import type { ErasureFilter } from '../serving/prediction-log.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'

/**
 * Undefined while no subject was erased, so that most installations pay nothing for it. `batch`: the batch whose rows arrive; those of a past
 * day count as of that day.
 */
export async function findErasureFilter(
  database: Database,
  { key }: SubjectKey,
  batch?: string,
): Promise<ErasureFilter | undefined> {
  if (!(await hasErasures(database))) return undefined
  return async (client: pg.ClientBase) => {
    const { rowCount } = await client.query(
      `with gone as (
         delete from arrived using erasures, models
         where erasures.model = arrived.model and models.name = arrived.model
           and least(arrived.at, (select ${scoredDay} from batch_partitions where id = $2)) < erasures.requested_at + interval '1 minute'
           and (arrived.id = any(erasures.requests) or belongs_to_subject($1, erasures.subject_hash, models.definition ->> 'subject',
             coalesce((select manifest -> 'preprocessing' from versions where versions.version = arrived.version), '[]'), arrived.routing_key, arrived.features, arrived.instances))
         returning arrived.id
       ), gone_outcomes as (
         delete from outcomes where request_id in (select id from gone)
       ), gone_reviews as (
         delete from reviews where request_id in (select id from gone)
       ), gone_events as (
         delete from events where request_id in (select id from gone)
       ), remembered as (
         insert into erased_requests (id) select id from gone on conflict do nothing
       )
       select from gone`,
      [key, batch],
    )
    return rowCount ?? 0
  }
}
