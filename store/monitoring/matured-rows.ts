/** Reads matured rows with features, prediction and outcome, for metrics of slices. */
import type { OutcomeValue } from '../../domain/model/outcome.ts'
import sql from 'sql-template-tag'
import type { FeatureFit, FeatureRow } from '../../domain/model/features.ts'
import type { Database } from '../postgres.ts'
import { iso, type VersionSpan } from './span.ts'

export interface MaturedRow {
  row: FeatureRow
  outputs: number[]
  /** The last revision that had arrived at the time of the check. */
  value: OutcomeValue
}

/** The rows of a version in a period whose outcome was known by `nowMs`, over a sample of requests. */
export async function listMaturedRows(
  database: Database,
  asked: VersionSpan & { nowMs: number; fits: readonly FeatureFit[]; width: number },
  limit: number,
): Promise<MaturedRow[]> {
  const { model, version, fits, width } = asked
  const [from, to, now] = [asked.fromMs, asked.toMs, asked.nowMs].map(iso)
  return database.query<MaturedRow>(sql`
    with sample as (
      select id, instances, features, outputs from predictions
      where model = ${model} and version = ${version} and at >= ${from} and at < ${to}
      order by md5(id::text) limit ${limit}
    ), known as (
      select distinct on (outcomes.prediction_id) sample.*, instance_index(outcomes.prediction_id) as place, value
      from sample join outcomes on request_id = sample.id
      where arrived_at <= ${now} and observed_at <= arrived_at
      order by outcomes.prediction_id, revision desc, arrived_at desc
    )
    select instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, place) as row,
      outputs[place * ${width}::int + 1 : (place + 1) * ${width}::int] as outputs, value
    from known where place < instances order by id, place limit ${limit}`)
}
