/**
 * Stores trainings. `attempts` is the fencing token: a worker that was replaced can write nothing and stops. The triggers
 * `trainings_enqueue_*` report start and status to MLflow.
 */
import sql, { join, raw, type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { TrainingUsage } from '../../domain/model/cost.ts'
import * as schema from '../../domain/schema.ts'
import { hyperparametersField } from '../../domain/training/overrides.ts'
import type { RefitCheck } from '../../domain/training/refit.ts'
import { rowsFrom, fromRowWithout } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { ModelFilter } from '../database/filter.ts'
import { startOf } from '../registry/versions.ts'

export interface EpochRecord {
  epoch: number
  loss: number
  /** The loss on the validation rows. */
  validationLoss?: number
}

export const trainingRow = schema.record(
  {
    id: schema.text,
    model: schema.text,
    snapshotDigest: schema.text,
    seed: schema.count,
    codeDigest: schema.text,
    dependenciesDigest: schema.text,
    hyperparameters: hyperparametersField,
    status: schema.oneOf('running', 'done', 'failed'),
    epoch: schema.count,
    attempts: schema.count,
  },
  {
    artifactDigest: schema.text,
    message: schema.text,
    /** The judged training whose recipe it repeats on all matured rows. */
    refitOf: schema.text,
    /** What the attempt that ended it took; absent where it was not measured, as on a task queue of the user. */
    usage: schema.dataOf<TrainingUsage>(),
  },
)

export interface TrainingRecord extends schema.TypeOf<typeof trainingRow> {
  curve: EpochRecord[]
  /** The rounds of the model, up to its best one, as its library counts them. */
  rounds?: number
  checkpointDigest?: string
}

export type NewTraining = Pick<
  TrainingRecord,
  'id' | 'model' | 'snapshotDigest' | 'seed' | 'hyperparameters' | 'codeDigest' | 'dependenciesDigest'
> & {
  /** The revision of the checkout that trains it. */
  buildId?: string
  /** The judged training whose recipe it repeats. */
  refitOf?: string
}

/** Begins a training, or its next attempt: the attempt number of a running training increases; a finished training stays unchanged. */
export async function beginTraining(database: Database, each: NewTraining): Promise<TrainingRecord> {
  await database.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters,
      build_id, refit_of, status)
    values (${each.id}, ${each.model}, ${each.snapshotDigest}, ${each.seed}, ${each.codeDigest},
      ${each.dependenciesDigest}, ${JSON.stringify(each.hyperparameters)}, ${each.buildId ?? null},
      ${each.refitOf ?? null}, 'running')
    on conflict (id) do update set build_id = excluded.build_id, attempts = trainings.attempts + 1, status = 'running', message = null, ended_at = null
    where trainings.status <> 'done'`)
  return getTraining(database, each.id)
}

/** Records an epoch. False when another attempt has begun since. */
export const recordEpoch = (
  database: Database,
  {
    id,
    attempt,
    record,
    checkpointDigest,
  }: { id: string; attempt: number; record: EpochRecord; checkpointDigest?: string },
) =>
  rowsFrom(database).any(sql`
    update trainings set epoch = ${record.epoch}, checkpoint_digest = coalesce(${checkpointDigest ?? null}, checkpoint_digest),
      curve = (
        select coalesce(jsonb_agg(each order by (each ->> 'epoch')::int), '[]')
        from jsonb_array_elements(curve) as each where (each ->> 'epoch')::int < ${record.epoch}
      ) || ${JSON.stringify([record])}::jsonb
    where id = ${id} and attempts = ${attempt} and status = 'running' returning id`)

/** Counts a failure by a memory shortage. Returns the number of such failures; undefined when another attempt has begun since. */
export const recordMemoryFailure = (database: Database, { id, attempt }: { id: string; attempt: number }) =>
  rowsFrom(database).value<number>(sql`
    update trainings set memory_failures = memory_failures + 1
    where id = ${id} and attempts = ${attempt} and status = 'running' returning memory_failures`)

/** Ends the trainings that an ended retraining left running, because they would keep their rows and checkpoints. Trials continue. */
export async function endAbandonedTrainings(
  database: Database,
  { ids, message }: { ids: readonly string[]; message: string },
): Promise<void> {
  await database.query(sql`
    update trainings set status = 'failed', message = ${message}, ended_at = now()
    where id = any(${ids}) and status = 'running'`)
}

/** What ends a training. */
export interface TrainingResult {
  artifactDigest: string
  codeDigest: string
  dependenciesDigest: string
  /** Package → version. */
  dependencies?: Record<string, string>
  /** Replaces what was recorded epoch by epoch, unless it is empty. */
  curve?: EpochRecord[]
  /** The rounds of the model, up to its best one; absent where the training does not tell. */
  rounds?: number | undefined
  usage?: TrainingUsage
}

/** Ends a training. False when another attempt has begun since. */
export async function endTraining(
  database: Database,
  end: { id: string; attempt: number } & (
    | ({ status: 'done' } & TrainingResult)
    | { status: 'failed'; message: string }
  ),
): Promise<boolean> {
  const curve = end.status === 'done' && end.curve?.length ? JSON.stringify(end.curve) : null
  const written =
    end.status === 'done'
      ? // Its files lie there again, also when an artifact of the same bytes was given up before.
        await database.query(sql`
          with back as (delete from deleted_artifacts where digest = ${end.artifactDigest})
          update trainings set status = 'done', artifact_digest = ${end.artifactDigest}, code_digest = ${end.codeDigest},
            dependencies_digest = ${end.dependenciesDigest}, dependencies = ${JSON.stringify(end.dependencies ?? {})},
            curve = coalesce(${curve}::jsonb, curve), rounds = ${end.rounds ?? null}, usage = ${end.usage === undefined ? null : JSON.stringify(end.usage)}, ended_at = now()
          where id = ${end.id} and attempts = ${end.attempt} returning id`)
      : await database.query(sql`
          update trainings set status = 'failed', message = ${end.message}, ended_at = now()
          where id = ${end.id} and attempts = ${end.attempt} and status = 'running' returning id`)
  return written.length > 0
}

/** Stores how the weights of a refit answer; the first check stays. */
export async function recordRefitCheck(database: Database, id: string, check: RefitCheck): Promise<void> {
  await database.query(sql`
    update trainings set refit_check = ${JSON.stringify(check)}
    where id = ${id} and refit_of is not null and refit_check is null`)
}

/** The checked refit of a judged training; undefined without one. */
export const findRefit = (database: Database, judged: string) =>
  rowsFrom(database).find<{
    id: string
    snapshotDigest: string
    artifactDigest?: string
    check?: RefitCheck
  }>(sql`
    select id, snapshot_digest, artifact_digest, refit_check as check from trainings where refit_of = ${judged}`)

export const findTraining = (database: Database, id: string) =>
  rowsFrom(database).find<TrainingRecord>(sql`
    select id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, status, epoch, curve, rounds,
      checkpoint_digest, artifact_digest, attempts, message, refit_of, usage
    from trainings where id = ${id}`)

export async function getTraining(database: Database, id: string): Promise<TrainingRecord> {
  const training = await findTraining(database, id)
  if (training === undefined) throw new DomainError('not_found', `there is no training ${id}`)
  return training
}

// Finds trainings with their settings, the metrics of the gate and the registered version.

export const foundTraining = schema.extend(
  trainingRow,
  {
    dependencies: schema.map(schema.text),
    /** The gate's metrics on the frozen test rows; empty before an evaluation. */
    metrics: schema.map(schema.number),
    startedAt: schema.time,
  },
  {
    /** The revision of the checkout. */
    buildId: schema.text,
    /** The loss of the last epoch. */
    loss: schema.number,
    evaluationId: schema.text,
    verdict: schema.text,
    /** The version registered from it. */
    version: schema.text,
    endedAt: schema.time,
    durationMs: schema.number,
  },
)
export type FoundTraining = schema.TypeOf<typeof foundTraining>

/** A training with its loss curve. */
export const trainingRun = schema.extend(foundTraining, {
  curve: schema.list(schema.record({ epoch: schema.count }) as schema.Schema<EpochRecord>),
})
export type TrainingRun = schema.TypeOf<typeof trainingRun>

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
  const { model, status, since, until, data, order = 'newest', after, limit } = search
  const filters: Sql[] = [sql`true`]
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
  t.artifact_digest, t.refit_of, t.usage, t.started_at, t.ended_at,
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
