/** Reads the predictions of both arms of a release with their outcomes. */
import type { OutcomeValue } from '../../domain/model/outcome.ts'
import sql from 'sql-template-tag'
import { readNow } from '../database/clock.ts'
import { newestOutcomeFirst } from '../monitoring/outcomes.ts'
import type { Database } from '../postgres.ts'

export interface AnsweredRow {
  version: string
  atMs: number
  outputs: number[]
  /** The newest outcome; null while none is known. */
  value: OutcomeValue | null
  /** The arrival time of its first outcome. */
  arrivedMs: number | null
}

/**
 * The first prediction of each user to each version, the oldest first, because later requests of a user are not independent. The reading
 * ends at the limits: a sample that changed between two looks would invalidate the bounds of the tests.
 */
export async function listReleaseAnswers(
  database: Database,
  { release, model, width, fromMs = 0 }: { release: string; model: string; width: number; fromMs?: number },
  { users = 50_000, requests = 500_000 }: { users?: number; requests?: number } = {},
): Promise<{ nowMs: number; rows: AnsweredRow[] }> {
  const rows = await database.query<AnsweredRow>(sql`
    with earliest as (
      select id, version, at, outputs, coalesce(routing_key, id::text) as entity from predictions
      where model = ${model} and release_id = ${release} and arm <> 'targeted' and at >= to_timestamp(${fromMs}::float8 / 1000)
      order by at, id limit ${requests}
    ), first_of_users as (
      select distinct on (version, entity) id, version, at, outputs from earliest order by version, entity, at, id
    ), sample as (
      select * from first_of_users order by at, id limit ${users}
    )
    select version, (extract(epoch from at) * 1000)::float8 as "atMs",
      outputs[1 : ${width}::int] as outputs, known.value, (extract(epoch from known.arrived_at) * 1000)::float8 as "arrivedMs"
    from sample
      left join lateral (
        select (array_agg(value order by ${newestOutcomeFirst}))[1] as value, min(arrived_at) as arrived_at
        from outcomes where prediction_id = sample.id
      ) as known on true
    order by at`)
  return { nowMs: await readNow(database), rows }
}

/** Whether any prediction of the holdback has an outcome. Most probations have none and are not read further. */
export async function hasHoldbackOutcome(
  database: Database,
  { model, release, baseline, fromMs }: { model: string; release: string; baseline: string; fromMs: number },
): Promise<boolean> {
  const [row] = await database.query<{ known: boolean }>(sql`
    select exists (
      select 1 from predictions join outcomes on outcomes.request_id = predictions.id
      where predictions.model = ${model} and predictions.version = ${baseline} and release_id = ${release}
        and predictions.at >= to_timestamp(${fromMs}::float8 / 1000)
    ) as known`)
  return row?.known === true
}
