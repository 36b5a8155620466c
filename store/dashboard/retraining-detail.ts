/** Reads the retraining pages: a page of the list, and one retraining with its training and evaluation. */
import sql from 'sql-template-tag'
import type { BehaviourRow } from '../../domain/behaviour/behaviour-test.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { Retraining } from '../training/retrainings.ts'
import type { TrainingRecord } from '../training/trainings.ts'

export type RetrainingLine = Omit<Retraining, 'evidence' | 'dedupeKey' | 'snapshotDigest'>

/** The newest first. Without `models`, of all models. */
export const listRetrainingLines = (
  database: Database,
  { limit, offset, ...filter }: ModelFilter & { limit: number; offset: number },
) =>
  rowsFrom(database).list<RetrainingLine>(sql`
    select id, model, reason, requested_by, as_of, started_at, ended_at, outcome, message, version from retrainings
    where ${ofModels(filter)}
    order by started_at desc, id desc limit ${limit} offset ${offset}`)

/** Who cancelled a retraining first, and why, from the audit log. */
export const findCancellation = (database: Database, id: string) =>
  rowsFrom(database).find<{ actor: string; reason?: string }>(sql`
    select actor, detail ->> 'reason' as reason from audit
    where subject = ${id} and action = 'retraining.cancelled' order by seq limit 1`)

/** The training of a retraining, as far as it has progressed. */
export interface ShownTraining extends Pick<
  TrainingRecord,
  'id' | 'status' | 'epoch' | 'attempts' | 'message' | 'snapshotDigest'
> {
  /** The total number of epochs, when the model file declares it. */
  epochs?: number
  curve: { epoch: number; loss?: number; validationLoss?: number }[]
  rows: number
  /** Absent without an evaluation, and for a model file without behaviour tests. */
  tests?: BehaviourRow[]
  evaluation?: { id: string; verdict: string; version?: string; release?: string }
}

/** Found by model and time, because a model runs one retraining at a time. */
export const findTrainingOf = (
  database: Database,
  { model, startedAt, endedAt }: { model: string; startedAt: string; endedAt?: string },
) =>
  rowsFrom(database).find<ShownTraining>(sql`
    select trainings.id, trainings.status, trainings.epoch, (trainings.hyperparameters ->> 'epochs')::float8 as epochs,
      trainings.curve, trainings.attempts, trainings.message, trainings.snapshot_digest, snapshots.rows,
      case when evaluations.id is not null then jsonb_strip_nulls(jsonb_build_object(
        'id', evaluations.id, 'verdict', evaluations.verdict, 'version', versions.version, 'release',
        (select id from releases where releases.version = versions.version order by started_at desc limit 1))) end as evaluation,
      evaluations.report -> 'tests' as tests
    from trainings
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join evaluations on evaluations.training_id = trainings.id
      left join versions on versions.training_id = trainings.id
    where trainings.model = ${model} and trainings.started_at >= ${startedAt}
      and trainings.started_at <= coalesce(${endedAt ?? null}::timestamptz, now())
      and trainings.id not in (select training_id from trials)
    order by trainings.started_at desc limit 1`)
