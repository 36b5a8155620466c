/** Reads drift in use for the dashboard, window by window, and the last window with its complete report. */
import sql from 'sql-template-tag'
import type { DriftLevel, DriftPolicy, DriftReport } from '../../domain/monitoring/drift.ts'
import type { Database } from '../postgres.ts'

export interface DriftWindowLine {
  version: string
  toAt: string
  level: DriftLevel
  /** The largest of its features. */
  psi: number | null
}

/** What the drift of the served rows was, window by window, the oldest first. */
export async function listDriftWindows(
  database: Database,
  { model, limit }: { model: string; limit: number },
): Promise<DriftWindowLine[]> {
  const rows = await database.query<{
    version: string
    to_at: Date
    level: DriftLevel
    psi: number | null
  }>(sql`
    select version, to_at, level, (
        select max((feature ->> 'psi')::float8) from jsonb_array_elements(report -> 'features') as feature
      ) as psi
    from drift_judgements where model = ${model} and subject = 'served' order by to_at desc limit ${limit}`)
  return rows
    .map(({ version, to_at: toAt, level, psi }) => ({ version, toAt: toAt.toISOString(), level, psi }))
    .toReversed()
}

export interface LastDrift {
  version: string
  fromAt: string
  toAt: string
  report: DriftReport
  policy: DriftPolicy
}

/** The last judgement with all it says. */
export async function findLastDrift(database: Database, model: string): Promise<LastDrift | undefined> {
  const [row] = await database.query<{
    version: string
    from_at: Date
    to_at: Date
    report: DriftReport
    policy: DriftPolicy
  }>(sql`
    select version, from_at, to_at, report, policy from drift_judgements
    where model = ${model} and subject = 'served' order by to_at desc limit 1`)
  return (
    row && {
      version: row.version,
      fromAt: row.from_at.toISOString(),
      toAt: row.to_at.toISOString(),
      report: row.report,
      policy: row.policy,
    }
  )
}
