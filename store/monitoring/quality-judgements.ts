/** Stores the quality verdict of each window of a version, with its inputs. */
import sql from 'sql-template-tag'
import type { GatePolicy } from '../../domain/evaluation/policy.ts'
import type { LabelPolicy, Maturity } from '../../domain/monitoring/label-maturity.ts'
import type { QualityReport } from '../../domain/monitoring/quality.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'
import { iso, type VersionSpan } from './span.ts'

export interface QualityJudgement extends VersionSpan {
  report: QualityReport
  inputs: { maturity: Maturity; predictions: number; labels: number }
  policy: { gate: GatePolicy; labels: LabelPolicy }
}

/** Stores a judgement unless the window has one. Returns the first judgement of the window. */
export async function insertQualityJudgement(
  database: Database,
  each: QualityJudgement,
): Promise<QualityJudgement & { id: number }> {
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into quality_judgements (model, version, from_at, to_at, level, report, inputs, policy, judge)
    values (${each.model}, ${each.version}, ${from}, ${to}, ${each.report.level}, ${JSON.stringify(each.report)},
      ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.report.judge})
    on conflict (model, version, from_at, to_at) do nothing`)
  const [row] = await database.query<
    Pick<QualityJudgement, 'report' | 'inputs' | 'policy'> & { id: number }
  >(sql`
    select id, report, inputs, policy from quality_judgements
    where model = ${each.model} and version = ${each.version} and from_at = ${from} and to_at = ${to}`)
  if (row === undefined) throw new DomainError('internal', `the quality of ${each.version} was not stored`)
  return { ...each, ...row }
}

/**
 * How long outcomes take plus the length of their window, in milliseconds, from the newest judgement of the model; undefined before the
 * first one.
 */
export async function findLabelTime(database: Database, model: string): Promise<number | undefined> {
  const [row] = await database.query<{ ms: number | null }>(sql`
    select (inputs #>> '{maturity,horizonMs}')::float8 + extract(epoch from to_at - from_at)::float8 * 1000 as ms
    from quality_judgements where model = ${model} order by to_at desc, id desc limit 1`)
  return row?.ms == null ? undefined : Math.ceil(row.ms)
}

/** The last judged window of matured outcomes of a version, with the delay of outcomes; undefined before the first one. */
export async function findLabelWindow(
  database: Database,
  { model, version }: { model: string; version: string },
): Promise<{ fromMs: number; toMs: number; nowMs: number; delayMs: number } | undefined> {
  const [row] = await database.query<{ from_at: Date; to_at: Date; delay: number }>(sql`
    select from_at, to_at, (inputs #>> '{maturity,horizonMs}')::float8 as delay
    from quality_judgements
    where model = ${model} and version = ${version} and inputs #>> '{maturity,horizonMs}' is not null
    order by to_at desc, id desc limit 1`)
  if (row === undefined) return undefined
  const toMs = row.to_at.getTime()
  return { fromMs: row.from_at.getTime(), toMs, nowMs: toMs + row.delay, delayMs: row.delay }
}
