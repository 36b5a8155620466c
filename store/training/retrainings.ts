/** Stores retrainings from trigger to outcome. An index allows one running retraining per model. */
import sql from 'sql-template-tag'
import type { BroughtArtifact } from '../../domain/model/brought-artifact.ts'
import type { CompressionOrder } from '../../domain/model/compression.ts'
import type { PastTraining } from '../../domain/monitoring/retraining-triggers.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import { hyperparametersField } from '../../domain/training/overrides.ts'
import * as schema from '../../domain/schema.ts'
import { readNow } from '../database/clock.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { columnsOf, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

const tableRow = schema.record(
  {
    id: schema.text,
    model: schema.text,
    reason: schema.text,
    requestedBy: schema.text,
    asOf: schema.time,
    evidence: schema.data,
    startedAt: schema.time,
  },
  {
    dedupeKey: schema.text,
    /** Replaces the policy of the model file for the release of its version. */
    policy: schema.dataOf<ReleasePolicy>(),
    /** The hyperparameters that override the model file. */
    overrides: hyperparametersField,
    /** The sweep whose winner this retraining trains. */
    sweepId: schema.text,
    endedAt: schema.time,
    outcome: schema.text,
    message: schema.text,
    /** The error code of a failed retraining, when an error of Tenure caused it. */
    errorCode: schema.text,
    snapshotDigest: schema.text,
    version: schema.text,
  },
)
export const retrainingRow = schema.extend(
  tableRow,
  { makes: schema.oneOf('training', 'compression', 'registration') },
  {
    /** The version that it makes smaller, and how, instead of training one. */
    compression: schema.dataOf<CompressionOrder>(),
  },
)
export type Retraining = schema.TypeOf<typeof retrainingRow>
/** What a retraining makes: of an artifact that was brought it is a registration. */
export const madeColumns = sql`artifact -> 'compression' as compression,
  case when artifact is null then 'training' when artifact ? 'compression' then 'compression' else 'registration' end as makes`
const columns = sql`${columnsOf(tableRow)}, ${madeColumns}`
export type NewRetraining = Pick<
  Retraining,
  | 'id'
  | 'model'
  | 'reason'
  | 'requestedBy'
  | 'asOf'
  | 'evidence'
  | 'dedupeKey'
  | 'policy'
  | 'overrides'
  | 'sweepId'
> & {
  /** The artifact that is evaluated and released instead of training one. */
  artifact?: BroughtArtifact
}

/** The reason that the requester gave, as text. */
export function noteOf(evidence: Record<string, unknown> | undefined): string | undefined {
  const note = evidence?.['reason']
  return typeof note === 'string' && note !== '' ? note : undefined
}

/** Opens a retraining, or returns the opened one. Undefined when another retraining of this model is open. */
export async function insertRetraining(
  database: Database,
  each: NewRetraining,
): Promise<Retraining | undefined> {
  await database.query(sql`
    insert into retrainings (id, model, reason, evidence, dedupe_key, requested_by, as_of, policy, overrides, sweep_id, artifact)
    values (${each.id}, ${each.model}, ${each.reason}, ${JSON.stringify(each.evidence)}, ${each.dedupeKey ?? null},
      ${each.requestedBy}, ${each.asOf}, ${each.policy === undefined ? null : JSON.stringify(each.policy)},
      ${each.overrides === undefined ? null : JSON.stringify(each.overrides)}, ${each.sweepId ?? null},
      ${each.artifact === undefined ? null : JSON.stringify(each.artifact)})
    on conflict do nothing`)
  return findRetraining(database, each.id)
}

/** Records a throttled request, which starts and ends at once. Does nothing when it is already recorded. */
export async function insertThrottled(
  database: Database,
  { message, ...each }: NewRetraining & { message: string },
): Promise<void> {
  await database.query(sql`
    insert into retrainings (id, model, reason, evidence, dedupe_key, requested_by, as_of, outcome, message, ended_at)
    values (${each.id}, ${each.model}, ${each.reason}, ${JSON.stringify(each.evidence)}, ${each.dedupeKey ?? null},
      ${each.requestedBy}, ${each.asOf}, 'throttled', ${message}, now())
    on conflict (id) do nothing`)
}

/**
 * Lists the trainings against which a request is checked: the trainings of the last week, and all since the last one that registered a
 * version.
 */
export async function listPastTrainings(
  database: Database,
  { model, except }: { model: string; except: string },
): Promise<{ nowMs: number; trainings: PastTraining[] }> {
  const rows = await rowsFrom(database).list<Omit<PastTraining, 'startedMs'> & { startedAt: string }>(sql`
    with trainings as (
      select reason, coalesce(dedupe_key, id) as dedupe_key, started_at,
        nullif(artifact -> 'compression' is not null, false) as is_compression, case
        when outcome in ('released', 'registered') and (
          select outcome from releases where releases.version = retrainings.version order by started_at desc limit 1
        ) in ('rolled_back', 'rejected') then 'rolled_back' else outcome end as outcome
      from retrainings where model = ${model} and id <> ${except} and outcome is distinct from 'throttled'
    )
    select * from trainings
    where started_at > now() - interval '7 days' or started_at >= coalesce((
      select max(started_at) from trainings where outcome in ('released', 'registered') and is_compression is null
    ), '-infinity')
    order by started_at desc limit 500`)
  return {
    nowMs: Math.floor(await readNow(database)),
    trainings: rows.map(({ startedAt, ...row }) => ({
      ...row,
      startedMs: Date.parse(startedAt),
      outcome: row.outcome ?? null,
    })),
  }
}

/**
 * Returns when the last training of a model began, how many requests got outcomes since, and the row count of that training. Null if unknown:
 * without a training that read its rows, or for a model without outcomes.
 */
export async function countNewRows(
  database: Database,
  model: string,
): Promise<{ newRows: number | null; trainingRows: number | null; lastTrainingMs?: number }> {
  const [row] = await database.query<{ rows: number; fresh: number | null; startedAt: Date }>(sql`
    with last as (
      select retrainings.started_at, snapshots.rows from retrainings
        join snapshots on snapshots.digest = retrainings.snapshot_digest
      where retrainings.model = ${model} and artifact -> 'compression' is null order by retrainings.started_at desc limit 1
    )
    select last.rows::float8 as rows, last.started_at as "startedAt", (
      select nullif(count(*), 0)::float8 * 0 + count(*) filter (where arrived_at > last.started_at) from outcomes
        join predictions on predictions.id = outcomes.request_id
      where predictions.model = ${model} and revision = 1
    ) as fresh
    from last`)
  return {
    newRows: row?.fresh ?? null,
    trainingRows: row?.rows ?? null,
    lastTrainingMs: row?.startedAt.getTime(),
  }
}

export type RetrainingEnd = Required<Pick<Retraining, 'id' | 'outcome' | 'message'>> &
  Pick<Retraining, 'version' | 'errorCode'>

/** Records the end; the first end stays. Returns false if it had already ended. */
export const closeRetraining = (database: Database, end: RetrainingEnd) =>
  rowsFrom(database).any(sql`
    update retrainings set outcome = ${end.outcome}, message = ${end.message}, error_code = ${end.errorCode ?? null},
      version = ${end.version ?? null}, ended_at = now()
    where id = ${end.id} and ended_at is null returning id`)

/** Closes the retrainings of terminated workflows. The caller knows that none of them runs. Returns their ids. */
export const closeAbandoned = (database: Database, ids: readonly string[], message: string) =>
  rowsFrom(database).column<string>(sql`
    update retrainings set outcome = 'failed', message = ${message}, ended_at = now()
    where id = any(${ids}) and ended_at is null returning id`)

export const findRetraining = (database: Database, id: string) =>
  rowsFrom(database).find<Retraining>(sql`select ${columns} from retrainings where id = ${id}`)

/** The retraining of the winner of a sweep, the latest first. */
export const findRetrainingOfSweep = (database: Database, sweepId: string) =>
  rowsFrom(database).find<Retraining>(sql`
    select ${columns} from retrainings where sweep_id = ${sweepId} order by started_at desc limit 1`)

/** A model has at most one. */
export const findRunningRetraining = (database: Database, model: string) =>
  rowsFrom(database).value<string>(
    sql`select id from retrainings where model = ${model} and ended_at is null`,
  )

/** Lists the retrainings, newest first. */
export const listRetrainings = (
  database: Database,
  { limit = 50, ...filter }: ModelFilter & { limit?: number },
) =>
  rowsFrom(database).list<Retraining>(sql`
    select ${columns} from retrainings where ${ofModel(filter)} order by started_at desc limit ${limit}`)

/** The release of the version that a retraining has registered. */
export interface RetrainedRelease {
  model: string
  version: string
  requestedBy: string
  policy?: ReleasePolicy
  /** Whether a release of the version has been opened. */
  isOpened: boolean
}

/** Undefined unless this retraining has just registered a version and may release it without an operator. */
export const findRetrained = (database: Database, retraining: string) =>
  rowsFrom(database).find<RetrainedRelease>(sql`
    select retrainings.model, versions.version, retrainings.requested_by, retrainings.policy,
      exists (select from releases where releases.version = versions.version) as is_opened
    from retrainings join versions on versions.lineage ->> 'retrainingId' = retrainings.id and versions.model = retrainings.model
      join evaluations on evaluations.id = versions.evaluation_id
      join models on models.name = retrainings.model
    where retrainings.id = ${retraining}
      and (retrainings.ended_at is null or retrainings.ended_at > now() - interval '1 hour')
      and (not coalesce((evaluations.report ->> 'needsPerson')::boolean, false) or
        (coalesce(retrainings.policy, models.definition -> 'release') -> 'approval' ->> 'approvers')::int > 0)`)
