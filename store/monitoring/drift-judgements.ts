/** Stores the drift verdict of each window of a version, with its counts. */
import sql, { raw } from 'sql-template-tag'
import type { DriftEvidence, DriftLevel, DriftPolicy, DriftReport } from '../../domain/monitoring/drift.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Maturity } from '../../domain/monitoring/label-maturity.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { iso, type VersionSpan } from './span.ts'

export interface NewDriftJudgement extends VersionSpan {
  /** Served requests, or the labels of their outcomes. */
  subject: 'served' | 'label'
  report: DriftReport
  /** `reference`: present when it is not the profile of the version. */
  inputs: Pick<DriftEvidence, 'current' | 'previous' | 'newest' | 'importance'> &
    Partial<Pick<DriftEvidence, 'reference'>> & { maturity?: Maturity }
  policy: DriftPolicy
}

export interface DriftJudgement extends NewDriftJudgement {
  id: number
  level: DriftLevel
  /** ISO 8601. */
  at: string
}

/** Stores a judgement unless the window has one. Returns the first judgement of the window. */
export async function insertDriftJudgement(
  database: Database,
  each: NewDriftJudgement,
): Promise<DriftJudgement> {
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into drift_judgements (model, version, subject, from_at, to_at, level, report, inputs, policy, judge)
    values (${each.model}, ${each.version}, ${each.subject}, ${from}, ${to}, ${each.report.level},
      ${JSON.stringify(each.report)}, ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.report.judge})
    on conflict (model, version, subject, from_at, to_at) do nothing`)
  const stored = await findDriftJudgement(database, each)
  if (stored === undefined)
    throw new DomainError('internal', `the drift of ${each.version} until ${to} was not stored`)
  return stored
}

const judgementColumns =
  raw(`id, model, version, subject, (extract(epoch from from_at) * 1000)::float8 as from_ms,
  (extract(epoch from to_at) * 1000)::float8 as to_ms, level, report, inputs, policy, at`)

/** The judgements of all models, the newest first. */
export const listDriftJudgements = (database: Database, limit: number) =>
  rowsFrom(database).list<DriftJudgement>(
    sql`select ${judgementColumns} from drift_judgements order by id desc limit ${limit}`,
  )

export const findDriftJudgement = (
  database: Database,
  { model, version, subject, fromMs, toMs }: VersionSpan & Pick<NewDriftJudgement, 'subject'>,
) =>
  rowsFrom(database).find<DriftJudgement>(sql`
    select ${judgementColumns} from drift_judgements where model = ${model} and version = ${version} and subject = ${subject}
      and from_at = ${iso(fromMs)} and to_at = ${iso(toMs)}`)
