/** Lists the predictions that need a review, stores reviews, and counts the predictions of a period for the accuracy estimate. */
import sql, { type Sql } from 'sql-template-tag'
import type { LoggedRow } from '../../domain/model/logged-rows.ts'
import type { OutcomeValue } from '../../domain/tasks/output.ts'
import { rowsFrom } from '../database/from-row.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { Database } from '../postgres.ts'

export interface WaitingReview {
  predictionId: string
  /** ISO 8601. */
  at: string
  version: string
  row: LoggedRow
  outputs: number[]
}

interface ReviewSpan {
  model: string
  /** The period in days, and the number of latest requests to read, because a model may serve a thousand requests per second. */
  days: number
  requests: number
}

/**
 * Selects the predictions of the latest requests to versions with a band: one row per instance, with whether it is inside the band. A batch
 * marks its rows for review itself, and would displace the requests.
 */
const answersOf = ({ model, days, requests }: ReviewSpan): Sql => sql`
  select latest.at, latest.version, instances, features, manifest, place,
    (substr(latest.id::text, 1, 32) || lpad(to_hex(place), 4, '0'))::uuid as prediction_id, answer.outputs,
    case when band ? 'below' then (select max(each) from unnest(answer.outputs) as each) < (band ->> 'below')::real
      else answer.outputs[1] between (band ->> 'from')::real and (band ->> 'to')::real end as in_band
  from (
      select id, at, version, instances, features, outputs from predictions
      where model = ${model} and arm not in ('shadow', 'batch') and at > now() - make_interval(days => ${days}::int)
        and version in (select version from versions where versions.model = ${model} and manifest #> '{output,review}' is not null)
      order by at desc limit ${requests}
    ) as latest
    join versions on versions.version = latest.version
    cross join lateral (
      select coalesce(jsonb_array_length(manifest #> '{output,classes}'), 1) as width, manifest #> '{output,review}' as band
    ) as shape
    cross join generate_series(0, instances - 1) as place
    cross join lateral (select latest.outputs[place * width + 1 : (place + 1) * width] as outputs) as answer`

/** Lists predictions that wait for a review, oldest first. Predictions with an outcome need no review. */
export const listWaiting = (
  database: Database,
  { limit, ...span }: ReviewSpan & { limit: number },
): Promise<WaitingReview[]> =>
  rowsFrom(database).list<WaitingReview>(sql`
    select prediction_id, at, version, outputs,
      instance_of(features, coalesce(manifest -> 'preprocessing', '[]'), instances, place) as row
    from (${answersOf(span)}) as answers
    where in_band
      and not exists (select from reviews where reviews.prediction_id = answers.prediction_id)
      and not exists (select from outcomes where outcomes.prediction_id = answers.prediction_id)
    order by at, prediction_id limit ${limit}`)

export interface NewReview {
  predictionId: string
  value: OutcomeValue
}

/** Stores reviews. A new value for the same prediction replaces the old one. Returns how many were new or changed. */
export async function upsertReviews(
  database: Database,
  { model, reviews, by }: { model: string; reviews: readonly NewReview[]; by: string },
): Promise<number> {
  const rows = await database.query(sql`
    insert into reviews (prediction_id, model, value, reviewed_by)
    select sent.prediction_id, ${model}, sent.value, ${by}
    from unnest(${reviews.map(({ predictionId }) => predictionId)}::uuid[],
      ${reviews.map(({ value }) => JSON.stringify(value))}::jsonb[]) as sent (prediction_id, value)
    on conflict (prediction_id) do update set value = excluded.value, reviewed_by = excluded.reviewed_by, reviewed_at = now()
      where reviews.value <> excluded.value
    returning 1`)
  return rows.length
}

export interface KnownAnswer {
  outputs: number[]
  inBand: boolean
  /** The outcome, or the review until an outcome arrives. */
  value?: OutcomeValue
}

/** Lists the predictions with a known outcome or review. */
export const listKnown = (database: Database, span: ReviewSpan): Promise<KnownAnswer[]> =>
  rowsFrom(database).list<KnownAnswer>(sql`
    select answers.outputs, in_band, coalesce(newest.value, reviews.value) as value
    from (${answersOf(span)}) as answers
      left join reviews on reviews.prediction_id = answers.prediction_id
      left join lateral (
        select value from outcomes where outcomes.prediction_id = answers.prediction_id order by ${newestOutcomeFirst} limit 1
      ) as newest on true`)
