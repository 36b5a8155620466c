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
    const { rows } = await client.query<{ id: string; first: string }>(
      // Each row is hashed once, however many erasures there are.
      `with dated as materialized (
         select arrived.*, least(arrived.at, (select ${scoredDay} from batch_partitions where id = $2)) as known_at from arrived
       ), late as materialized (
         select dated.*, is_number from dated
           join (select model, max(requested_at) as newest, bool_or(is_number) as is_number from erasures group by model) as erased
             using (model)
         where known_at < newest + interval '1 minute'
       ), identifying as materialized (
         select version, definition ->> 'subject' as subject, manifest -> 'preprocessing' as fits
         from versions join models on models.name = versions.model
         where version in (select version from late) and exists (
           select from jsonb_array_elements(manifest -> 'preprocessing') as fit
           where fit ->> 'name' = definition ->> 'subject' and fit ->> 'kind' <> 'number')
       ), hashed as materialized (
         select id, model, known_at, unnest(subject_hashes_of($1, routing_key, is_number)) as subject_hash from late
         union all
         select id, model, known_at,
           unnest(subject_hashes_of($1, instance_of(features, fits, instances, instance) ->> subject, is_number))
         from late join identifying using (version), generate_series(0, instances - 1) as instance
         where features <> ''
       ), requested as materialized (
         select model, requested_at, unnest(requests) as id from erasures
       ), hit as (
         select hashed.id from hashed join erasures using (model, subject_hash)
         where known_at < requested_at + interval '1 minute'
         union
         select id from late join requested using (model, id)
         where known_at < requested_at + interval '1 minute'
       ), gone as (
         delete from arrived using hit where arrived.id = hit.id returning arrived.id, arrived.at
       ), gone_outcomes as (
         delete from outcomes where request_id in (select id from gone)
       ), gone_reviews as (
         delete from reviews where request_id in (select id from gone)
       ), gone_events as (
         delete from events where request_id in (select id from gone)
       ), remembered as (
         insert into erased_requests (id) select id from gone on conflict do nothing
       )
       select id, (min(at) over ())::text as first from gone`,
      [key, batch],
    )
    // A replica may have stored the pairs before the requests.
    if (rows.length > 0)
      await client.query(
        `delete from shadow_pairs where request_of(prediction_id) = any($1::uuid[]) and at > $2::timestamptz - interval '1 minute'`,
        [rows.map(({ id }) => id), rows[0]!.first],
      )
    return rows.length
  }
}
