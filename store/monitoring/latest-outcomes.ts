/** Lists the latest outcomes with their predictions, for measuring live calibration. */
import type { OutcomeValue } from '../../domain/model/outcome.ts'
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export interface AnsweredOutcome {
  /** The outputs of the version for the whole request, instance by instance. */
  outputs: number[]
  /** The index of the instance. */
  place: number
  value: OutcomeValue
}

/** Of the newest `limit` outcomes of all versions, those of one version, each with its prediction. */
export async function listLatestOutcomes(
  database: Database,
  { model, version, limit }: { model: string; version: string; limit: number },
): Promise<AnsweredOutcome[]> {
  return database.query(sql`
    select answered.outputs, instance_index(newest.prediction_id) as place, newest.value
    from (select prediction_id, request_id, value from outcomes order by arrived_at desc limit ${limit}) as newest
      join lateral (
        select outputs, model, version from predictions where predictions.id = newest.request_id
          and at >= prediction_time(newest.request_id) - interval '1 minute'
          and at < prediction_time(newest.request_id) + interval '10 minutes' limit 1
      ) as answered on answered.model = ${model} and answered.version = ${version}`)
}
