/**
 * Stores trainings. `attempts` is the fencing token: a worker that was replaced can write nothing and stops. The triggers
 * `trainings_enqueue_*` report start and status to MLflow.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface EpochRecord {
  epoch: number
  loss: number
  /** The loss on the validation rows. */
  validationLoss?: number
}

export interface TrainingRecord {
  id: string
  model: string
  snapshotDigest: string
  seed: number
  codeDigest: string
  dependenciesDigest: string
  hyperparameters: Record<string, number | string | boolean>
  status: 'running' | 'done' | 'failed'
  epoch: number
  curve: EpochRecord[]
  checkpointDigest?: string
  artifactDigest?: string
  attempts: number
  message?: string
}

export type NewTraining = Pick<
  TrainingRecord,
  'id' | 'model' | 'snapshotDigest' | 'seed' | 'hyperparameters' | 'codeDigest' | 'dependenciesDigest'
> & {
  /** The revision of the checkout that trains it. */
  buildId?: string
}

/** Begins a training, or its next attempt: the attempt number of a running training increases; a finished training stays unchanged. */
export async function beginTraining(database: Database, each: NewTraining): Promise<TrainingRecord> {
  await database.query(sql`
    insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters,
      build_id, status)
    values (${each.id}, ${each.model}, ${each.snapshotDigest}, ${each.seed}, ${each.codeDigest},
      ${each.dependenciesDigest}, ${JSON.stringify(each.hyperparameters)}, ${each.buildId ?? null}, 'running')
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
            curve = coalesce(${curve}::jsonb, curve), ended_at = now()
          where id = ${end.id} and attempts = ${end.attempt} returning id`)
      : await database.query(sql`
          update trainings set status = 'failed', message = ${end.message}, ended_at = now()
          where id = ${end.id} and attempts = ${end.attempt} and status = 'running' returning id`)
  return written.length > 0
}

export const findTraining = (database: Database, id: string) =>
  rowsFrom(database).find<TrainingRecord>(sql`
    select id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, status, epoch, curve,
      checkpoint_digest, artifact_digest, attempts, message
    from trainings where id = ${id}`)

export async function getTraining(database: Database, id: string): Promise<TrainingRecord> {
  const training = await findTraining(database, id)
  if (training === undefined) throw new DomainError('not_found', `there is no training ${id}`)
  return training
}
