/** What the pages of retrainings show: a part of their list, and of one of them the training and what the gate said of it. */
import sql from 'sql-template-tag'
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
  const rows = await database.query<{
    id: string
    model: string
    reason: string
    requested_by: string
    as_of: Date
    started_at: Date
    ended_at: Date | null
    outcome: string | null
    message: string | null
    version: string | null
  }>(sql`
    select id, model, reason, requested_by, as_of, started_at, ended_at, outcome, message, version from retrainings
    where ${models ?? null}::text[] is null or model = any(${models ?? null}::text[])
    order by started_at desc, id desc limit ${limit} offset ${offset}`)
  return rows.map((row) => ({
    id: row.id,
    model: row.model,
    reason: row.reason,
    requestedBy: row.requested_by,
    asOf: row.as_of.toISOString(),
    startedAt: row.started_at.toISOString(),
    ...(row.ended_at === null ? {} : { endedAt: row.ended_at.toISOString() }),
    ...(row.outcome === null ? {} : { outcome: row.outcome }),
    ...(row.message === null ? {} : { message: row.message }),
    ...(row.version === null ? {} : { version: row.version }),
  }))
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
  const [row] = await database.query<{
    id: string
    status: ShownTraining['status']
    epoch: number
    epochs: number | null
    curve: ShownTraining['curve']
    attempts: number
    message: string | null
    digest: string
    rows: number
    evaluation: string | null
    verdict: string | null
    version: string | null
    release: string | null
  }>(sql`
    select trainings.id, trainings.status, trainings.epoch, (trainings.hyperparameters ->> 'epochs')::float8 as epochs,
      trainings.curve, trainings.attempts, trainings.message, trainings.snapshot_digest as digest, snapshots.rows,
      evaluations.id as evaluation, evaluations.verdict, versions.version,
      (select id from releases where releases.version = versions.version order by started_at desc limit 1) as release
    from trainings
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join evaluations on evaluations.training_id = trainings.id
      left join versions on versions.training_id = trainings.id
    where trainings.model = ${model} and trainings.started_at >= ${startedAt}
      and trainings.started_at <= coalesce(${endedAt ?? null}::timestamptz, now())
    order by trainings.started_at desc limit 1`)
  return (
    row && {
      id: row.id,
      status: row.status,
      epoch: row.epoch,
      curve: row.curve,
      attempts: row.attempts,
      snapshotDigest: row.digest,
      rows: row.rows,
      ...(row.epochs === null ? {} : { epochs: row.epochs }),
      ...(row.message === null ? {} : { message: row.message }),
      ...(row.evaluation === null || row.verdict === null
        ? {}
        : {
            evaluation: {
              id: row.evaluation,
              verdict: row.verdict,
              ...(row.version === null ? {} : { version: row.version }),
              ...(row.release === null ? {} : { release: row.release }),
            },
          }),
    }
  )
}
