/** Quality in use as pages show it: the last window of each week, or the last windows, and what their intervals rest on. */
import sql from 'sql-template-tag'
import type { QualityReport } from '../../domain/monitoring/quality.ts'
import type { Database } from '../postgres.ts'

export interface QualityWindow {
  version: string
  fromMs: number
  toMs: number
  report: QualityReport
}

/** The last measured window of each of the last weeks in which there was one, the oldest first. */
export async function listQualityWeeks(
  database: Database,
  { model, weeks }: { model: string; weeks: number },
): Promise<QualityWindow[]> {
  const rows = await database.query<WindowRow>(sql`
    with last as (
      select max(to_at) as at from quality_judgements where model = ${model} and level <> 'insufficient'
    )
    select week.version, week.from_at, week.to_at, week.report
    from last, generate_series(0, ${weeks - 1}::int) as ago
      join lateral (
        select version, from_at, to_at, report from quality_judgements
        where model = ${model} and level <> 'insufficient'
          and to_at > last.at - (ago + 1) * interval '7 days' and to_at <= last.at - ago * interval '7 days'
        order by to_at desc limit 1) as week on true
    order by week.to_at`)
  return rows.map(toWindow)
}

/** The last measured windows, the oldest first. */
export async function listQualityWindows(
  database: Database,
  { model, limit }: { model: string; limit: number },
): Promise<QualityWindow[]> {
  const rows = await database.query<WindowRow>(sql`
    select version, from_at, to_at, report from quality_judgements
    where model = ${model} and level <> 'insufficient' order by to_at desc limit ${limit}`)
  return rows.map(toWindow).toReversed()
}

interface WindowRow {
  version: string
  from_at: Date
  to_at: Date
  report: QualityReport
}

const toWindow = (row: WindowRow): QualityWindow => ({
  version: row.version,
  fromMs: row.from_at.getTime(),
  toMs: row.to_at.getTime(),
  report: row.report,
})

/** The share of positives among the test rows of a version; undefined where the task has none. */
export async function findPositiveShare(database: Database, version: string): Promise<number | undefined> {
  const [row] = await database.query<{ share: number | null }>(sql`
    select (report ->> 'positives')::float8 / nullif((report ->> 'rows')::float8, 0) as share
    from evaluations where id = (select evaluation_id from versions where version = ${version})`)
  return row?.share ?? undefined
}
