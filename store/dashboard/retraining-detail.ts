/** Reads the retraining pages: a part of the list, and one retraining with its training and evaluation. */
import sql from 'sql-template-tag'
import { fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface RetrainingLine {
  id: string
  model: string
  reason: string
  requestedBy: string
  asOf: string
  startedAt: string
  endedAt?: string
  outcome?: string
  message?: string
  version?: string
}

/** The newest first; of all models when `models` is absent. */
export async function listRetrainingLines(
  database: Database,
  { models, limit, offset }: { models?: readonly string[]; limit: number; offset: number },
): Promise<RetrainingLine[]> {
  const rows = await database.query(sql`
    select id, model, reason, requested_by, as_of, started_at, ended_at, outcome, message, version from retrainings
    where ${models ?? null}::text[] is null or model = any(${models ?? null}::text[])
    order by started_at desc, id desc limit ${limit} offset ${offset}`)
  return rows.map(fromRow<RetrainingLine>)
}

/** The training of a retraining, as far as it has come. */
export interface ShownTraining {
  id: string
  status: 'running' | 'done' | 'failed'
  epoch: number
  /** How many there will be, where the model file says so. */
  epochs?: number
  curve: { epoch: number; loss?: number; validationLoss?: number }[]
  attempts: number
  message?: string
  snapshotDigest: string
  rows: number
  evaluation?: { id: string; verdict: string; version?: string; release?: string }
}

/** Found by its model and time: of one model one retraining runs at a time. */
export async function findTrainingOf(
  database: Database,
  { model, startedAt, endedAt }: { model: string; startedAt: string; endedAt?: string },
): Promise<ShownTraining | undefined> {
  const [row] = await database.query(sql`
    select trainings.id, trainings.status, trainings.epoch, (trainings.hyperparameters ->> 'epochs')::float8 as epochs,
      trainings.curve, trainings.attempts, trainings.message, trainings.snapshot_digest, snapshots.rows,
      case when evaluations.id is not null then jsonb_strip_nulls(jsonb_build_object(
        'id', evaluations.id, 'verdict', evaluations.verdict, 'version', versions.version, 'release',
        (select id from releases where releases.version = versions.version order by started_at desc limit 1))) end as evaluation
    from trainings
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join evaluations on evaluations.training_id = trainings.id
      left join versions on versions.training_id = trainings.id
    where trainings.model = ${model} and trainings.started_at >= ${startedAt}
      and trainings.started_at <= coalesce(${endedAt ?? null}::timestamptz, now())
    order by trainings.started_at desc limit 1`)
  return row && fromRow<ShownTraining>(row)
}
