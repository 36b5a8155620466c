/** Stores the decision and the report of the offline gate. The trigger `evaluations_enqueue_insert` reports it to MLflow. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { EvaluationInputs } from '../../domain/evaluation/inputs-record.ts'
import type { GateReport, GateVerdict } from '../../domain/evaluation/gate.ts'
import type { ImportanceReport } from '../../domain/explanation/importance.ts'
import * as schema from '../../domain/schema.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export const evaluationRow = schema.record(
  {
    id: schema.text,
    model: schema.text,
    trainingId: schema.text,
    snapshotDigest: schema.text,
    /** The artifact digest of the challenger. */
    artifactDigest: schema.text,
    verdict: schema.textOf<GateVerdict>(),
    report: schema.dataOf<GateReport>(),
    /** The inputs of the evaluation apart from the rows. */
    inputs: schema.dataOf<EvaluationInputs>(),
    /** Approvals are bound to this digest. */
    reportDigest: schema.text,
  },
  {
    /** The live champion that it was compared with; absent for the first version of a model. */
    baselineVersion: schema.text,
  },
)
export interface Evaluation extends schema.TypeOf<typeof evaluationRow> {
  /** The report as Markdown. */
  page: string
}

/** Stores an evaluation unless its id is stored. Returns the stored evaluation. */
export async function insertEvaluation(database: Database, each: Evaluation): Promise<Evaluation> {
  await database.query(sql`
    insert into evaluations (id, model, training_id, snapshot_digest, artifact_digest, baseline_version, verdict, report,
      inputs, page, report_digest)
    values (${each.id}, ${each.model}, ${each.trainingId}, ${each.snapshotDigest}, ${each.artifactDigest},
      ${each.baselineVersion ?? null}, ${each.verdict}, ${JSON.stringify(each.report)}, ${JSON.stringify(each.inputs)}, ${each.page},
      ${each.reportDigest})
    on conflict (id) do nothing`)
  return getEvaluation(database, each.id)
}

export const findEvaluation = (database: Database, id: string) =>
  rowsFrom(database).find<Evaluation>(sql`
    select id, model, training_id, snapshot_digest, artifact_digest, baseline_version, verdict, report, inputs, page, report_digest
    from evaluations where id = ${id}`)

/** What the gate has decided; undefined where it has not judged. */
export const findVerdict = (database: Database, id: string) =>
  rowsFrom(database).find<{ evaluation: string; verdict: GateVerdict; reportDigest: string }>(
    sql`select id as evaluation, verdict, report_digest from evaluations where id = ${id}`,
  )

/** The evaluations of the versions registered last, the newest first. */
export const listLastEvaluations = (database: Database, limit: number) =>
  rowsFrom(database).list<Evaluation & { version: string }>(sql`
    select evaluations.id, evaluations.model, evaluations.training_id, snapshot_digest, evaluations.artifact_digest, baseline_version,
      verdict, report, inputs, page, report_digest, version
    from versions join evaluations on evaluations.id = evaluation_id order by versions.created_at desc, version limit ${limit}`)

/** The measured feature importance of a version; undefined when not measured. */
export async function findImportance(
  database: Database,
  version: string,
): Promise<ImportanceReport | undefined> {
  const found = await rowsFrom(database).value<ImportanceReport>(sql`
    select evaluations.report -> 'importance' from versions join evaluations on evaluations.id = versions.evaluation_id
    where versions.version = ${version}`)
  return found ?? undefined
}

export async function getEvaluation(database: Database, id: string): Promise<Evaluation> {
  const evaluation = await findEvaluation(database, id)
  if (evaluation === undefined) throw new DomainError('not_found', `there is no evaluation ${id}`)
  return evaluation
}

/** How many other challengers of the model were judged on these test rows, by trials and retrainings. */
export async function countTriedOn(
  database: Database,
  {
    model,
    snapshotDigest,
    artifacts,
  }: {
    model: string
    snapshotDigest: string
    /** The digests of the challenger and of the champion. */
    artifacts: readonly string[]
  },
): Promise<number> {
  const found = await rowsFrom(database).value<number>(sql`
    select count(distinct artifact_digest)::integer from evaluations
    where model = ${model} and snapshot_digest = ${snapshotDigest} and artifact_digest <> all(${artifacts})`)
  return found ?? 0
}

/**
 * How many compressions of an artifact were judged, on any rows, because the rows of two days are mostly the same. One that is judged again
 * counts again.
 */
export async function countCompressions(
  database: Database,
  { model, parent }: { model: string; parent: string },
): Promise<number> {
  const found = await rowsFrom(database).value<number>(sql`
    select count(*)::integer from evaluations
    where model = ${model} and report #>> '{compression,artifact}' = ${parent}`)
  return found ?? 0
}

/** How many decisions used these test rows. */
export async function countTestSetUses(database: Database, snapshotDigest: string): Promise<number> {
  const found = await rowsFrom(database).value<number>(
    sql`select count(*) as uses from evaluations where snapshot_digest = ${snapshotDigest}`,
  )
  return found ?? 0
}
