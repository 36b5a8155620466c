/** Reads matured rows with features, prediction and outcome, for metrics of slices. */
import type { OutcomeValue } from '../../domain/model/outcome.ts'
import sql from 'sql-template-tag'
import type { FeatureFit, FeatureRow } from '../../domain/model/features.ts'
import type { Database } from '../postgres.ts'
import { instanceSample, outputsOf } from './matured-outcomes.ts'
import { newestOutcomeFirst } from './outcomes.ts'
import { iso, type VersionSpan } from './monitor-windows.ts'

export interface MaturedRow {
  row: FeatureRow
  outputs: number[]
  /** The routing key of the request, or the prediction without one. */
  entity: string
  /** The newest one that had arrived at the time of the check. */
  value: OutcomeValue
}

/**
 * The instances of a version in a period whose outcome was known by `nowMs`, among a sample of `limit` instances; `sampled` is how many
 * there are with the others.
 */
export async function listMaturedRows(
  database: Database,
  {
    fits,
    width,
    nowMs,
    ...span
  }: VersionSpan & { nowMs: number; fits: readonly FeatureFit[]; width: number },
  limit: number,
): Promise<{ sampled: number; rows: MaturedRow[] }> {
  const found = await database.query<Omit<MaturedRow, 'value'> & { value: OutcomeValue | null }>(sql`
    with ${instanceSample(span, limit, sql`, features, outputs, routing_key`)}
    select instance_of(features, ${JSON.stringify(fits)}::jsonb, instances, place) as row,
      ${outputsOf(width)}, coalesce(routing_key, sample.prediction_id::text) as entity, value
    from sample left join lateral (
      select value from outcomes
      where outcomes.prediction_id = sample.prediction_id and arrived_at <= ${iso(nowMs)} and observed_at <= arrived_at
      order by ${newestOutcomeFirst} limit 1
    ) as newest on true`)
  const rows = found.flatMap(({ value, ...each }) => (value === null ? [] : [{ ...each, value }]))
  return { sampled: found.length, rows }
}
