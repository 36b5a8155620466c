/** Stores trials: trainings that are judged but register no version. */
import sql from 'sql-template-tag'
import type { HyperparameterValues } from '../../domain/training/overrides.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface NewTrial {
  /** `try_…` */
  id: string
  model: string
  /** The sweep of the trial. */
  sweepId?: string
  requestedBy: string
  /** ISO 8601. */
  asOf: string
  overrides: HyperparameterValues
  trainingId: string
}

export type TrialEnd = {
  id: string
  outcome: 'judged' | 'scored' | 'stopped' | 'quarantined' | 'failed' | 'cancelled'
  message: string
  /** The error code of a failed trial, if an error of Tenure caused the failure. */
  errorCode?: string
  snapshotDigest?: string
  evaluationId?: string
  /** The primary metric on the validation rows, for a trial of a sweep. */
  score?: number
}

export interface Trial extends NewTrial, Partial<Omit<TrialEnd, 'id'>> {
  startedAt: string
  endedAt?: string
}

/** Stores a trial. Does nothing if it is already stored. */
export async function insertTrial(database: Database, each: NewTrial): Promise<void> {
  await database.query(sql`
    insert into trials (id, model, sweep_id, requested_by, as_of, overrides, training_id)
    values (${each.id}, ${each.model}, ${each.sweepId ?? null}, ${each.requestedBy}, ${each.asOf},
      ${JSON.stringify(each.overrides)}, ${each.trainingId})
    on conflict (id) do nothing`)
}

/** Records the end; the first end stays. Returns false if it had already ended. */
export const closeTrial = (database: Database, end: TrialEnd) =>
  rowsFrom(database).any(sql`
    update trials set outcome = ${end.outcome}, message = ${end.message}, error_code = ${end.errorCode ?? null}, snapshot_digest = ${end.snapshotDigest ?? null},
      evaluation_id = ${end.evaluationId ?? null}, score = ${end.score ?? null}, ended_at = now()
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
  rowsFrom(database).find<Trial>(sql`select * from trials where id = ${id}`)

/** Lists the trials, newest first. */
export const listTrials = (database: Database, { limit = 50, ...filter }: ModelFilter & { limit?: number }) =>
  rowsFrom(database).list<Trial>(sql`
    select * from trials where ${ofModels(filter)} order by started_at desc, id limit ${limit}`)
