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

/**
 * Of the newest `limit` outcomes of all versions, those of one version that count, each with its prediction. The time of the prediction is
 * computed once for each outcome: in the join, Postgres computes it again for each partition.
 */
export async function listLatestOutcomes(
  database: Database,
  { model, version, limit }: { model: string; version: string; limit: number },
): Promise<AnsweredOutcome[]> {
  return database.query(sql`
    select answered.outputs, instance_index(newest.prediction_id) as place, newest.value
    from (
        select prediction_id, request_id, value, observed_at, revision, prediction_time(request_id) as predicted_at
        from outcomes order by arrived_at desc limit ${limit}
      ) as newest
      join lateral (
        select outputs, model, version from predictions where predictions.id = newest.request_id
          and at >= newest.predicted_at - interval '1 minute'
          and at < newest.predicted_at + interval '10 minutes' limit 1
      ) as answered on answered.model = ${model} and answered.version = ${version}
    where not exists (
      select from outcomes as other where other.prediction_id = newest.prediction_id
        and (other.observed_at, other.revision) > (newest.observed_at, newest.revision)
    )`)
}
