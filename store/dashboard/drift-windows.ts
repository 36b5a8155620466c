/** Reads live drift for the dashboard: one line per window, and the last window with its complete report. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { DriftJudgement } from '../monitoring/drift-judgements.ts'

export interface DriftWindowLine extends Pick<DriftJudgement, 'version' | 'level'> {
  toAt: string
  /** The largest PSI of the features, and of the scores of a model with several numbers per row. */
  psi: number | null
}

/** The drift of the served rows, window by window, the oldest first. */
export async function listDriftWindows(
  database: Database,
  { model, limit }: { model: string; limit: number },
): Promise<DriftWindowLine[]> {
  const rows = await rowsFrom(database).list<DriftWindowLine>(sql`
    select version, to_at, level, (
        select max((each ->> 'psi')::float8)
        from jsonb_array_elements((report -> 'features') || coalesce(report -> 'scores', '[]')) as each
      ) as psi
    from drift_judgements where model = ${model} and subject = 'served' order by to_at desc limit ${limit}`)
  return rows.map((row) => ({ ...row, psi: row.psi ?? null })).toReversed()
}

export interface LastDrift extends Pick<DriftJudgement, 'version' | 'report' | 'policy'> {
  fromAt: string
  toAt: string
}

/** The last judgement with its complete report. */
export const findLastDrift = (database: Database, model: string) =>
  rowsFrom(database).find<LastDrift>(sql`
    select version, from_at, to_at, report, policy from drift_judgements
    where model = ${model} and subject = 'served' order by to_at desc limit 1`)
