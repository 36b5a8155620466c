/** Reads the windows of drift and quality that the pages draw. */
import sql, { raw, type Sql } from 'sql-template-tag'
import { rowsFrom, fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { DriftJudgement } from '../monitoring/monitor-windows.ts'
import type { QualityReport } from '../../domain/monitoring/quality.ts'

export interface LastDrift extends Pick<DriftJudgement, 'version' | 'report' | 'policy'> {
  fromAt: string
  toAt: string
}

/** The last judgement with its complete report. */
export const findLastDrift = (database: Database, model: string) =>
  rowsFrom(database).find<LastDrift>(sql`
    select version, from_at, to_at, report, policy from drift_judgements
    where model = ${model} and subject = 'served' order by to_at desc limit 1`)

// Reads live quality for the dashboard: the last window of each week, or the last windows, with their intervals.

export interface QualityWindow {
  version: string
  toMs: number
  report: QualityReport
  /** The share of positives among the test rows of the version, an estimate of that of the window; absent when its task has none. */
  positives?: number
}

const positivesOf = (table: Sql): Sql => sql`(
  select (evaluations.report ->> 'positives')::float8 / nullif((evaluations.report ->> 'rows')::float8, 0)
  from versions join evaluations on evaluations.id = versions.evaluation_id where versions.version = ${table}.version) as positives`

const toMsOf = (table: Sql): Sql => sql`(extract(epoch from ${table}.to_at) * 1000)::float8 as to_ms`

/** The last measured window of each of the last weeks that have one, the oldest first. */
export const listQualityWeeks = (database: Database, { model, weeks }: { model: string; weeks: number }) =>
  rowsFrom(database).list<QualityWindow>(sql`
    with last as (
      select max(to_at) as at from quality_judgements where model = ${model} and level <> 'insufficient'
    )
    select week.version, ${toMsOf(raw('week'))}, week.report, ${positivesOf(raw('week'))}
    from last, generate_series(0, ${weeks - 1}::int) as ago
      join lateral (
        select version, to_at, report from quality_judgements
        where model = ${model} and level <> 'insufficient'
          and to_at > last.at - (ago + 1) * interval '7 days' and to_at <= last.at - ago * interval '7 days'
        order by to_at desc limit 1) as week on true
    order by week.to_at`)

/** The last measured windows, the oldest first. */
export async function listQualityWindows(
  database: Database,
  { model, limit }: { model: string; limit: number },
): Promise<QualityWindow[]> {
  const rows = await database.query(sql`
    select version, ${toMsOf(raw('quality_judgements'))}, report, ${positivesOf(raw('quality_judgements'))} from quality_judgements
    where model = ${model} and level <> 'insufficient' order by to_at desc limit ${limit}`)
  return rows.map(fromRow<QualityWindow>).toReversed()
}
