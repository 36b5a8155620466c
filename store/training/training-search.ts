/** Finds trainings with their settings, the metrics of the gate and the registered version. */
import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { ModelFilter } from '../database/filter.ts'
import { fromRowWithout, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { startOf } from '../registry/version-search.ts'
import type { TrainingRecord } from './trainings.ts'

export interface FoundTraining extends Omit<TrainingRecord, 'curve' | 'checkpointDigest'> {
  /** The revision of the checkout. */
  buildId?: string
  dependencies: Record<string, string>
  /** The loss of the last epoch. */
  loss?: number
  /** The gate's metrics on the frozen test rows; empty before an evaluation. */
  metrics: Record<string, number>
  evaluationId?: string
  verdict?: string
  /** The version registered from it. */
  version?: string
  startedAt: string
  endedAt?: string
  durationMs?: number
}

/** A training with its loss curve. */
export type TrainingRun = FoundTraining & Pick<TrainingRecord, 'curve'>

export interface TrainingKey {
  at: string
  id: string
}

export interface TrainingSearch extends ModelFilter {
  status?: FoundTraining['status']
  since?: string
  until?: string
  data?: string
  order?: 'newest' | 'oldest'
  after?: TrainingKey
  limit: number
}

export async function findTrainings(
  database: Database,
  search: TrainingSearch,
): Promise<{ trainings: FoundTraining[]; next?: TrainingKey }> {
  const { models, model, status, since, until, data, order = 'newest', after, limit } = search
  const filters: Sql[] = [sql`true`]
  if (models !== undefined) filters.push(sql`t.model = any(${[...models]}::text[])`)
  if (model !== undefined) filters.push(sql`t.model = ${model}`)
  if (status !== undefined) filters.push(sql`t.status = ${status}`)
  if (since !== undefined) filters.push(sql`t.started_at >= ${since}::timestamptz`)
  if (until !== undefined) filters.push(sql`t.started_at < ${until}::timestamptz`)
  if (data !== undefined) filters.push(sql`t.snapshot_digest like ${startOf(data)}`)
  const than = raw(order === 'newest' ? '<' : '>')
  if (after !== undefined)
    filters.push(sql`(t.started_at, t.id) ${than} (${after.at}::timestamptz, ${after.id})`)
  const direction = raw(order === 'newest' ? 'desc' : 'asc')
  const rows = await database.query<{ id: string; at: string }>(sql`
    with page as materialized (
      select t.id from trainings as t where ${join(filters, ' and ')}
      order by t.started_at ${direction}, t.id ${direction} limit ${limit + 1}
    )
    select ${trainingColumns}, t.started_at::text as at from page join trainings as t on t.id = page.id ${trainingJoins}
    order by t.started_at ${direction}, t.id ${direction}`)
  const last = rows.length > limit ? rows[limit - 1] : undefined
  return {
    trainings: rows.slice(0, limit).map((row) => fromRowWithout<FoundTraining>(row, 'at')),
    next: last === undefined ? undefined : { at: last.at, id: last.id },
  }
}

export const findTrainingRun = (database: Database, id: string) =>
  rowsFrom(database).find<TrainingRun>(sql`
    select ${trainingColumns}, t.curve from trainings as t ${trainingJoins} where t.id = ${id}`)

const trainingColumns: Sql = sql`t.id, t.model, t.status, t.snapshot_digest, t.code_digest, t.build_id, t.dependencies_digest,
  t.dependencies, t.hyperparameters, t.seed, t.epoch, (t.curve -> -1 ->> 'loss')::double precision as loss, t.attempts, t.message,
  t.artifact_digest, t.started_at, t.ended_at,
  floor(extract(epoch from t.ended_at - t.started_at) * 1000)::float8 as duration_ms,
  e.id as evaluation_id, e.verdict, coalesce(e.metrics, '{}') as metrics, v.version`
/** The last evaluation of each training; the version is present when one was registered. */
const trainingJoins: Sql = sql`
  left join lateral (
    select id, verdict, (
      select jsonb_object_agg(each ->> 'metric', each -> 'challenger')
      from jsonb_array_elements(case jsonb_typeof(report -> 'metrics') when 'array' then report -> 'metrics' else '[]' end) as each
      where jsonb_typeof(each -> 'challenger') = 'number') as metrics
    from evaluations where training_id = t.id order by created_at desc limit 1
  ) as e on true
  left join versions as v on v.training_id = t.id`
