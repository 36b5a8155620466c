/**
 * Reads what a retraining, a trial or a sweep was asked for, and stores what its activities find. Activities take the id of this row and
 * nothing else, because a client of Temporal can call them with any arguments.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import type { HyperparameterValues } from '../../domain/training/overrides.ts'
import type { Making } from '../../domain/registry/registration.ts'
import {
  type JudgedRun,
  type RunFacts,
  type RunFailure,
  idsOfRow,
  refitIdsOf,
  type RunIds,
} from '../../domain/training/runs.ts'
import { failureSentences } from '../../domain/validation/check-rows.ts'
import type { ExcludedRows } from '../../domain/validation/expectations.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { findEvaluation } from './evaluations.ts'
import { findTraining } from './trainings.ts'
import { findValidation, resultsOf } from './snapshots.ts'

interface RunRow {
  id: string
  kind: 'retraining' | 'trial' | 'sweep'
  model: string
  /** ISO 8601: uses the rows known by then. */
  asOf: string
  overrides?: HyperparameterValues
  /** The artifact that is adopted instead of training one. */
  artifact?: BroughtArtifact
  /** The sweep of a trial, or of a retraining of its winner. */
  sweepId?: string
  snapshotDigest?: string
  /** All matured rows, once the gate has passed. From then on, the activities of rows and trainings work on the refit. */
  refitSnapshotDigest?: string
  excludedRows?: ExcludedRows
  failure?: RunFailure
  /** Why its artifact is not new and was not evaluated. */
  unchanged?: string
  endedAt?: string
}

export interface Run extends RunRow, RunIds {}

/** Throws `not_found`, and `forbidden` for a run of another kind. */
export async function getRun(database: Database, id: string, kinds: readonly Run['kind'][]): Promise<Run> {
  const found = await rowsFrom(database).find<RunRow>(sql`
    select 'retraining' as kind, id, model, as_of, overrides, artifact, sweep_id, snapshot_digest, refit_snapshot_digest, excluded_rows,
      failure, unchanged, ended_at
    from retrainings where id = ${id}
    union all
    select 'trial', id, model, as_of, overrides, null, sweep_id, snapshot_digest, null, excluded_rows, failure, unchanged, ended_at
    from trials where id = ${id}
    union all
    select 'sweep', id, model, as_of, null, null, null, snapshot_digest, null, excluded_rows, failure, null, ended_at
    from sweeps where id = ${id}`)
  if (found === undefined) throw new DomainError('not_found', `there is no retraining, trial or sweep ${id}`)
  if (!kinds.includes(found.kind)) throw new DomainError('forbidden', `${id} is a ${found.kind}`)
  return { ...found, ...idsOfRow(id) }
}

/** Stores the snapshot of an open run; the first one stays. */
export async function recordSnapshot(
  database: Database,
  { run, digest, excludedRows = null }: { run: string; digest: string; excludedRows?: ExcludedRows | null },
): Promise<void> {
  const values = sql`set snapshot_digest = ${digest}, excluded_rows = ${excludedRows && JSON.stringify(excludedRows)}
    where id = ${run} and ended_at is null and snapshot_digest is null`
  await database.query(sql`
    with retraining as (update retrainings ${values}), trial as (update trials ${values}) update sweeps ${values}`)
}

/** Stores the rows of the refit of an open retraining; the first ones stay. */
export async function recordRefitSnapshot(
  database: Database,
  { run, digest }: { run: string; digest: string },
): Promise<void> {
  await database.query(sql`
    update retrainings set refit_snapshot_digest = ${digest}
    where id = ${run} and ended_at is null and refit_snapshot_digest is null`)
}

/** Stores why the artifact of an open run is not new. */
export async function recordUnchanged(
  database: Database,
  { run, message }: { run: string; message: string },
): Promise<void> {
  const values = sql`set unchanged = ${message} where id = ${run} and ended_at is null`
  await database.query(sql`with retraining as (update retrainings ${values}) update trials ${values}`)
}

/** Stores what the last failed activity of an open run, batch or drill said; undefined removes it. */
export async function recordFailure(database: Database, run: string, failure?: RunFailure): Promise<void> {
  const values = sql`set failure = ${failure === undefined ? null : JSON.stringify(failure)}::jsonb
    where id = ${run} and ended_at is null`
  await database.query(sql`
    with retraining as (update retrainings ${values}), trial as (update trials ${values}), sweep as (update sweeps ${values}),
      drill as (update drills ${values})
    update batches ${values}`)
}

/** Reads what the activities of a run have stored. The trials of a sweep share its validation. */
export async function readRunFacts(database: Database, run: Run): Promise<Omit<RunFacts, 'isCancelled'>> {
  const { validationId } = run.kind === 'trial' && run.sweepId !== undefined ? idsOfRow(run.sweepId) : run
  const ofRefit = await findValidation(database, refitIdsOf(run.id).validationId)
  const validation = ofRefit?.verdict === 'block' ? ofRefit : await findValidation(database, validationId)
  return {
    ...run,
    validation: validation && {
      verdict: validation.verdict,
      failures: failureSentences(resultsOf(validation)),
    },
    isTrained: (await findTraining(database, run.trainingId))?.status === 'done',
    evaluation: await findJudged(database, run.evaluationId),
  }
}

/** What the gate decided; undefined where it has not judged. */
export async function findJudged(database: Database, evaluationId: string): Promise<JudgedRun | undefined> {
  const found = await findEvaluation(database, evaluationId)
  return (
    found && {
      verdict: found.verdict,
      reasons: found.report.reasons.map(({ message }) => message),
      needsPerson: found.report.needsPerson,
      baseline: found.baselineVersion,
    }
  )
}

/** Reads the rows that a version is made of, or the version of a retraining would be. The artifact is that of the training when none is given. */
export async function readMaking(
  database: Database,
  made: Omit<RunIds, 'validationId'> & {
    model: string
    validationId?: string
    snapshotDigest?: string
    artifactDigest?: string
  },
): Promise<Making> {
  const { model, snapshotDigest, validationId, trainingId, evaluationId } = made
  const found = await rowsFrom(database).find<
    Pick<Making, 'validation' | 'training' | 'evaluation' | 'refit'>
  >(sql`
    select validations.model as "validation.model", validations.snapshot_digest as "validation.snapshot_digest",
      validations.verdict as "validation.verdict", trainings.model as "training.model",
      trainings.snapshot_digest as "training.snapshot_digest", trainings.status as "training.status",
      trainings.artifact_digest as "training.artifact_digest", evaluations.model as "evaluation.model",
      evaluations.snapshot_digest as "evaluation.snapshot_digest", evaluations.artifact_digest as "evaluation.artifact_digest",
      evaluations.verdict as "evaluation.verdict", evaluations.training_id = trainings.id as "evaluation.is_of_training",
      refits.model as "refit.model", refits.status as "refit.status", refits.artifact_digest as "refit.artifact_digest",
      case when refits.id is not null then refits.refit_check is not null and not refits.refit_check ? 'issue' end as "refit.is_checked"
    from (select) as made left join validations on validations.id = ${validationId ?? null}
      left join trainings on trainings.id = ${trainingId} left join evaluations on evaluations.id = ${evaluationId}
      left join trainings as refits on refits.id = ${`${trainingId}_refit`} and refits.refit_of = trainings.id`)
  const artifactDigest =
    made.artifactDigest ?? found?.refit?.artifactDigest ?? found?.training?.artifactDigest
  return { ...found, model, snapshotDigest, artifactDigest }
}
