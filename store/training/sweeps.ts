/** Stores sweeps: searches over hyperparameters whose winner is retrained. */
import sql from 'sql-template-tag'
import { hyperparametersField, type HyperparameterValues } from '../../domain/training/overrides.ts'
import { idsOfRow } from '../../domain/training/runs.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { columnsOf, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { EpochRecord } from './trainings.ts'

export const sweepRow = schema.record(
  {
    /** `swp_…` */
    id: schema.text,
    model: schema.text,
    requestedBy: schema.text,
    asOf: schema.time,
    plan: schema.record({
      /** The overrides of each trial. */
      candidates: schema.list(hyperparametersField),
      /** How many trials run at the same time. */
      parallel: schema.count,
    }),
    startedAt: schema.time,
  },
  {
    outcome: schema.textOf<'chosen' | 'quarantined' | 'failed' | 'cancelled'>(),
    message: schema.text,
    snapshotDigest: schema.text,
    winner: hyperparametersField,
    endedAt: schema.time,
  },
)
export type Sweep = schema.TypeOf<typeof sweepRow>
const sweepColumns = columnsOf(sweepRow)
export type NewSweep = Pick<Sweep, 'id' | 'model' | 'requestedBy' | 'asOf' | 'plan'>
export type SweepEnd = Required<Pick<Sweep, 'id' | 'outcome' | 'message'>>

/** Does nothing when the sweep is already stored. */
export async function insertSweep(database: Database, each: NewSweep): Promise<void> {
  await database.query(sql`
    insert into sweeps (id, model, requested_by, as_of, plan)
    values (${each.id}, ${each.model}, ${each.requestedBy}, ${each.asOf}, ${JSON.stringify(each.plan)})
    on conflict (id) do nothing`)
}

/** Records the winner; the first winner stays. */
export async function recordWinner(
  database: Database,
  { id, winner }: { id: string; winner: HyperparameterValues },
): Promise<void> {
  await database.query(sql`
    update sweeps set winner = ${JSON.stringify(winner)} where id = ${id} and winner is null and ended_at is null`)
}

/** Records the end; the first end stays. */
export async function closeSweep(database: Database, end: SweepEnd): Promise<void> {
  await database.query(sql`
    update sweeps set outcome = ${end.outcome}, message = ${end.message}, ended_at = now()
    where id = ${end.id} and ended_at is null`)
}

export const findSweep = (database: Database, id: string) =>
  rowsFrom(database).find<Sweep>(sql`select ${sweepColumns} from sweeps where id = ${id}`)

/** The newest first. */
export const listSweeps = (database: Database, { limit = 50, ...filter }: ModelFilter & { limit?: number }) =>
  rowsFrom(database).list<Sweep>(sql`
    select ${sweepColumns} from sweeps where ${ofModel(filter)} order by started_at desc, id limit ${limit}`)

/** Ordered by index. */
export const listTrialsOf = (database: Database, sweepId: string) =>
  rowsFrom(database).list<Trial>(
    sql`select ${trialColumns} from trials where sweep_id = ${sweepId} order by started_at, id`,
  )

/** The losses of the ended trials in the sweep of a training; undefined for a training without a sweep. */
export async function findEndedCurves(
  database: Database,
  trainingId: string,
): Promise<EpochRecord[][] | undefined> {
  const [row] = await database.query<{ curves: EpochRecord[][] | null }>(sql`
    select (
      select jsonb_agg(trainings.curve) from trials as other join trainings on trainings.id = other.training_id
      where other.sweep_id = mine.sweep_id and other.outcome = 'scored'
    ) as curves
    from trials as mine where mine.training_id = ${trainingId} and mine.sweep_id is not null`)
  return row && (row.curves ?? [])
}

/** How many trials the sweep had started. */
export const countSweepTrials = async (database: Database, sweepId: string): Promise<number> =>
  Number(
    (await rowsFrom(database).value<string>(sql`select count(*) from trials where sweep_id = ${sweepId}`)) ??
      0,
  )

// Stores trials: trainings that are judged but register no version.

export const trialRow = schema.record(
  {
    /** `try_…` */
    id: schema.text,
    model: schema.text,
    requestedBy: schema.text,
    asOf: schema.time,
    overrides: hyperparametersField,
    trainingId: schema.text,
    startedAt: schema.time,
  },
  {
    /** The sweep of the trial. */
    sweepId: schema.text,
    outcome: schema.textOf<'judged' | 'scored' | 'stopped' | 'quarantined' | 'failed' | 'cancelled'>(),
    message: schema.text,
    /** The error code of a failed trial, if an error of Tenure caused the failure. */
    errorCode: schema.text,
    snapshotDigest: schema.text,
    evaluationId: schema.text,
    /** The primary metric on the validation rows, for a trial of a sweep. */
    score: schema.number,
    endedAt: schema.time,
  },
)
export type Trial = schema.TypeOf<typeof trialRow>
const trialColumns = columnsOf(trialRow)
export type NewTrial = Pick<
  Trial,
  'id' | 'model' | 'sweepId' | 'requestedBy' | 'asOf' | 'overrides' | 'snapshotDigest'
> & {
  /** The run of its workflow. */
  runId: string
}
export type TrialEnd = Required<Pick<Trial, 'id' | 'outcome' | 'message'>> &
  Pick<Trial, 'errorCode' | 'evaluationId'>

/** Stores a trial. Returns false if another run of its workflow has stored it. */
export async function insertTrial(database: Database, each: NewTrial): Promise<boolean> {
  await database.query(sql`
    insert into trials (id, model, sweep_id, requested_by, as_of, overrides, run_id, snapshot_digest, training_id)
    values (${each.id}, ${each.model}, ${each.sweepId ?? null}, ${each.requestedBy}, ${each.asOf},
      ${JSON.stringify(each.overrides)}, ${each.runId}, ${each.snapshotDigest ?? null}, ${idsOfRow(each.id).trainingId})
    on conflict (id) do nothing`)
  return rowsFrom(database).any(sql`select from trials where id = ${each.id} and run_id = ${each.runId}`)
}

/** Stores the score of a trial of a sweep. */
export async function recordScore(
  database: Database,
  { id, score }: { id: string; score: number },
): Promise<void> {
  await database.query(sql`update trials set score = ${score} where id = ${id} and ended_at is null`)
}

/** Records the end; the first end stays. Returns false if it had already ended. */
export const closeTrial = (database: Database, end: TrialEnd) =>
  rowsFrom(database).any(sql`
    update trials set outcome = ${end.outcome}, message = ${end.message}, error_code = ${end.errorCode ?? null},
      evaluation_id = ${end.evaluationId ?? null}, ended_at = now()
    where id = ${end.id} and ended_at is null returning id`)

/**
 * Marks the artifact of an ended trial as deleted, unless a version, a retraining or a running trial has the same one. Its files are
 * removed a day later, with other unreferenced files: a training that produces the same bytes at this moment may rely on them.
 */
export const giveUpTrialArtifact = (database: Database, trialId: string) =>
  rowsFrom(database).any(sql`
    insert into deleted_artifacts (digest)
    select mine.artifact_digest from trials join trainings as mine on mine.id = trials.training_id
    where trials.id = ${trialId} and trials.ended_at is not null and mine.artifact_digest is not null
      and not exists (select from versions where versions.artifact_digest = mine.artifact_digest)
      and not exists (
        select from trainings as other where other.artifact_digest = mine.artifact_digest and other.id not in (
          select training_id from trials where ended_at is not null))
    on conflict do nothing returning digest`)

export const findTrial = (database: Database, id: string) =>
  rowsFrom(database).find<Trial>(sql`select ${trialColumns} from trials where id = ${id}`)

/** Lists the trials, newest first. */
export const listTrials = (database: Database, { limit = 50, ...filter }: ModelFilter & { limit?: number }) =>
  rowsFrom(database).list<Trial>(sql`
    select ${trialColumns} from trials where ${ofModel(filter)} order by started_at desc, id limit ${limit}`)
