/** Reads the predictions of both arms of a release with their outcomes. */
import sql from 'sql-template-tag'
import { readNow } from '../database/clock.ts'
import type { Database } from '../postgres.ts'

export interface AnsweredRow {
  version: string
  atMs: number
  outputs: number[]
  /** The last revision; null while no outcome is known. */
  value: number | string | boolean | null
  /** When the first one came. */
  arrivedMs: number | null
}

/** The oldest first, of a sample of the requests. */
export async function listReleaseAnswers(
  database: Database,
  { release, model, width }: { release: string; model: string; width: number },
  limit = 20_000,
): Promise<{ nowMs: number; rows: AnsweredRow[] }> {
  const rows = await database.query<AnsweredRow>(sql`
    with sample as (
      select id, version, at, instances, outputs from predictions
      where model = ${model} and release_id = ${release} order by md5(id::text) limit ${limit}
    )
    select version, (extract(epoch from at) * 1000)::float8 as "atMs",
      outputs[place * ${width}::int + 1 : (place + 1) * ${width}::int] as outputs,
      known.value, (extract(epoch from known.arrived_at) * 1000)::float8 as "arrivedMs"
    from sample cross join generate_series(0, instances - 1) as place
      left join lateral (
        select (array_agg(value order by revision desc))[1] as value, min(arrived_at) as arrived_at
        from outcomes where request_id = sample.id and instance_index(prediction_id) = place
      ) as known on true
    order by at`)
  return { nowMs: await readNow(database), rows }
}
