/** Finds trainings, each with what it ran with, what the gate measured of it, and the version that came of it. */
import sql, { join, raw, type Sql } from 'sql-template-tag'
import type { Database } from '../postgres.ts'
import { startOf } from '../registry/version-search.ts'
import type { EpochRecord } from './trainings.ts'

export interface FoundTraining {
  id: string
  model: string
  status: 'running' | 'done' | 'failed'
  snapshotDigest: string
  codeDigest: string
  /** The revision of the checkout; absent of trainings from before it was kept. */
  buildId?: string
  dependenciesDigest: string
  dependencies: Record<string, string>
  hyperparameters: Record<string, number | string | boolean>
  seed: number
  epoch: number
  /** Of the last epoch. */
  loss?: number
  attempts: number
  message?: string
  artifactDigest?: string
  /** What the gate measured on the frozen test rows; empty until it has. */
  metrics: Record<string, number>
  evaluationId?: string
  verdict?: string
  /** What was registered of it. */
  version?: string
  startedAt: string
  endedAt?: string
  durationMs?: number
}

export interface TrainingKey {
  at: string
  id: string
}

export interface TrainingSearch {
  models?: readonly string[]
  model?: string
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
  const rows = await database.query<TrainingRow>(sql`
    with page as materialized (
      select t.id from trainings as t where ${join(filters, ' and ')}
      order by t.started_at ${direction}, t.id ${direction} limit ${limit + 1}
    )
    select ${trainingColumns} from page join trainings as t on t.id = page.id ${trainingJoins}
    order by t.started_at ${direction}, t.id ${direction}`)
  const last = rows.length > limit ? rows[limit - 1] : undefined
  return {
    trainings: rows.slice(0, limit).map(toTraining),
    next: last === undefined ? undefined : { at: last.at, id: last.id },
  }
}

/** A training with the curve of its loss. */
export async function findTrainingRun(
  database: Database,
  id: string,
): Promise<(FoundTraining & { curve: EpochRecord[] }) | undefined> {
  const [row] = await database.query<TrainingRow & { curve: EpochRecord[] }>(sql`
    select ${trainingColumns}, t.curve from trainings as t ${trainingJoins} where t.id = ${id}`)
  return row && { ...toTraining(row), curve: row.curve }
}

const trainingColumns: Sql = sql`t.id, t.model, t.status, t.snapshot_digest, t.code_digest, t.build_id, t.dependencies_digest,
  t.dependencies, t.hyperparameters, t.seed, t.epoch, (t.curve -> -1 ->> 'loss')::double precision as loss, t.attempts, t.message,
  t.artifact_digest, t.started_at, t.started_at::text as at, t.ended_at, e.id as evaluation_id, e.verdict, e.metrics, v.version`
/** The last evaluation of each; the version is there when one was registered. */
const trainingJoins: Sql = sql`
  left join lateral (
    select id, verdict, (
      select jsonb_object_agg(each ->> 'metric', each -> 'challenger')
      from jsonb_array_elements(case jsonb_typeof(report -> 'metrics') when 'array' then report -> 'metrics' else '[]' end) as each
      where jsonb_typeof(each -> 'challenger') = 'number') as metrics
    from evaluations where training_id = t.id order by created_at desc limit 1
  ) as e on true
  left join versions as v on v.training_id = t.id`

interface TrainingRow {
  id: string
  model: string
  status: FoundTraining['status']
  snapshot_digest: string
  code_digest: string
  build_id: string | null
  dependencies_digest: string
  dependencies: Record<string, string>
  hyperparameters: FoundTraining['hyperparameters']
  seed: number
  epoch: number
  loss: number | null
  attempts: number
  message: string | null
  artifact_digest: string | null
  started_at: Date
  at: string
  ended_at: Date | null
  evaluation_id: string | null
  verdict: string | null
  metrics: Record<string, number> | null
  version: string | null
}

const toTraining = (row: TrainingRow): FoundTraining => ({
  id: row.id,
  model: row.model,
  status: row.status,
  snapshotDigest: row.snapshot_digest,
  codeDigest: row.code_digest,
  ...(row.build_id === null ? {} : { buildId: row.build_id }),
  dependenciesDigest: row.dependencies_digest,
  dependencies: row.dependencies,
  hyperparameters: row.hyperparameters,
  seed: row.seed,
  epoch: row.epoch,
  ...(row.loss === null ? {} : { loss: row.loss }),
  attempts: row.attempts,
  ...(row.message === null ? {} : { message: row.message }),
  ...(row.artifact_digest === null ? {} : { artifactDigest: row.artifact_digest }),
  metrics: row.metrics ?? {},
  ...(row.evaluation_id === null ? {} : { evaluationId: row.evaluation_id }),
  ...(row.verdict === null ? {} : { verdict: row.verdict }),
  ...(row.version === null ? {} : { version: row.version }),
  startedAt: row.started_at.toISOString(),
  ...(row.ended_at === null
    ? {}
    : {
        endedAt: row.ended_at.toISOString(),
        durationMs: row.ended_at.getTime() - row.started_at.getTime(),
      }),
})
