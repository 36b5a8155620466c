/** Stores the verdicts on a window before its outcomes arrive, with their inputs. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'
import { iso, type VersionSpan } from './span.ts'

export interface NewServingJudgement<Statistic> extends VersionSpan {
  kind: 'estimate' | 'skew'
  verdict: string
  statistic: Statistic
  inputs: object
  policy: object
  /** The name and version of the judge. */
  judge: string
}

/** Stores a judgement unless the window has one. Returns the id and the statistic of the first judgement. */
export async function insertServingJudgement<Statistic extends object>(
  database: Database,
  each: NewServingJudgement<Statistic>,
): Promise<{ id: number; statistic: Statistic }> {
  const { kind, model, version } = each
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into serving_judgements (kind, model, version, from_at, to_at, verdict, statistic, inputs, policy, judge)
    values (${kind}, ${model}, ${version}, ${from}, ${to}, ${each.verdict}, ${JSON.stringify(each.statistic)},
      ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.judge})
    on conflict (kind, model, version, from_at, to_at) do nothing`)
  const [row] = await database.query<{ id: number; statistic: Statistic }>(sql`
    select id, statistic from serving_judgements
    where kind = ${kind} and model = ${model} and version = ${version} and from_at = ${from} and to_at = ${to}`)
  if (row === undefined) throw new DomainError('internal', `the ${kind} of ${version} was not stored`)
  return row
}
