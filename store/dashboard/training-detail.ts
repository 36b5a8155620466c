/** Reads one retraining or one sweep with all that its page shows. */
import sql from 'sql-template-tag'
import type { BehaviourRow } from '../../domain/behaviour/behaviour-test.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { madeColumns, type Retraining } from '../training/retrainings.ts'
import type { TrainingRecord, EpochRecord } from '../training/trainings.ts'
import type { Sweep, Trial } from '../training/sweeps.ts'

export type RetrainingLine = Omit<Retraining, 'evidence' | 'dedupeKey' | 'snapshotDigest'>

/** The newest first. */
export const listRetrainingLines = (
  database: Database,
  { limit, offset, ...filter }: ModelFilter & { limit: number; offset: number },
) =>
  rowsFrom(database).list<RetrainingLine>(sql`
    select id, model, reason, requested_by, as_of, started_at, ended_at, outcome, message, version, ${madeColumns}
    from retrainings
    where ${ofModel(filter)}
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
  /** The status of the training that repeats it on all matured rows. */
  refit?: string
}

/** The judged training. Found by model and time, because a model runs one retraining at a time. */
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
      evaluations.report -> 'tests' as tests,
      (select refits.status from trainings as refits where refits.refit_of = trainings.id) as refit
    from trainings
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join evaluations on evaluations.training_id = trainings.id
      left join versions on versions.training_id = trainings.id
    where trainings.model = ${model} and trainings.started_at >= ${startedAt}
      and trainings.started_at <= coalesce(${endedAt ?? null}::timestamptz, now())
      and trainings.id not in (select training_id from trials) and trainings.refit_of is null
    order by trainings.started_at desc limit 1`)

// Reads the pages of sweeps and the loss curves of runs, with one statement each.

export type SweepLine = Omit<Sweep, 'snapshotDigest'> & {
  trials: number
  scored: number
  /** The highest score; the metric decides whether that is the best. */
  highest?: number
  lowest?: number
}

/** The newest first. */
export const listSweepLines = (
  database: Database,
  { limit, offset, ...filter }: ModelFilter & { limit: number; offset: number },
) =>
  rowsFrom(database).list<SweepLine>(sql`
    select sweeps.id, sweeps.model, sweeps.requested_by, as_of, plan, winner, outcome, message, started_at, ended_at,
      counted.*
    from sweeps, lateral (
      select count(*)::int as trials, count(score)::int as scored, max(score) as highest, min(score) as lowest
      from trials where sweep_id = sweeps.id
    ) as counted
    where ${ofModel(filter, 'sweeps.model')} order by started_at desc, sweeps.id desc limit ${limit} offset ${offset}`)

export interface SweepTrial extends Pick<
  Trial,
  'id' | 'overrides' | 'outcome' | 'message' | 'score' | 'startedAt' | 'endedAt'
> {
  epoch: number
  curve: EpochRecord[]
}

/** Ordered by index. */
export const listSweepTrials = (database: Database, sweep: string) =>
  rowsFrom(database).list<SweepTrial>(sql`
    select trials.id, trials.overrides, trials.outcome, trials.message, trials.score, trials.started_at, trials.ended_at,
      coalesce(trainings.epoch, 0) as epoch, coalesce(trainings.curve, '[]') as curve
    from trials left join trainings on trainings.id = trials.training_id
    where trials.sweep_id = ${sweep} order by trials.started_at, trials.id limit 200`)

/** The retraining of the winner, and its gate verdict. */
export const findSweepRetraining = (database: Database, sweep: string) =>
  rowsFrom(database).find<{
    id: string
    outcome?: string
    message?: string
    version?: string
    releaseId?: string
  }>(sql`
    select id, outcome, message, version, (
      select releases.id from releases where releases.version = retrainings.version order by started_at desc limit 1
    ) as release_id
    from retrainings where sweep_id = ${sweep} order by started_at desc limit 1`)

/** The row counts of a sweep's snapshot, and the share of positives among the champion's test rows. */
export const findSweepRows = (database: Database, { sweep, model }: { sweep: string; model: string }) =>
  rowsFrom(database).find<{ rows?: number; positives?: number }>(sql`
    select (select rows from snapshots where digest = sweeps.snapshot_digest) as rows, (
      select (report ->> 'positives')::float8 / nullif((report ->> 'rows')::float8, 0) from evaluations
        join versions on versions.evaluation_id = evaluations.id
        join champions on champions.version = versions.version and champions.model = ${model}
    ) as positives
    from sweeps where id = ${sweep}`)

export interface RunCurve {
  id: string
  version?: string
  startedAt: string
  curve: EpochRecord[]
}

/** The losses of the newest trainings that are neither trials nor refits, newest first. */
export const listRunCurves = (database: Database, { model, limit }: { model: string; limit: number }) =>
  rowsFrom(database).list<RunCurve>(sql`
    select trainings.id, trainings.started_at, trainings.curve, (
      select version from versions where versions.training_id = trainings.id limit 1
    ) as version
    from trainings
    where model = ${model} and refit_of is null and jsonb_array_length(curve) > 1 and not exists (select from trials where training_id = trainings.id)
    order by started_at desc limit ${limit}`)
