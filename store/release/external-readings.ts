/**
 * Stores the readings of external metrics for the windows of a release. The first reading of a window stays, so that evidence never
 * changes.
 */
import sql from 'sql-template-tag'
import type { ExternalReading } from '../../domain/canary/external/external-metric.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface StoredReading extends ExternalReading {
  metric: string
}

interface ReadingRow {
  metric: string
  fromMs: number
  canary?: number
  control?: number
  problem?: string
}

const readingOf = ({ canary, control, ...row }: ReadingRow): StoredReading => ({
  ...row,
  canary: canary ?? null,
  control: control ?? null,
})

/** Ordered by window. */
export async function listReadings(database: Database, release: string): Promise<StoredReading[]> {
  const rows = await rowsFrom(database).list<ReadingRow>(sql`
    select metric, extract(epoch from from_at)::float8 * 1000 as from_ms, canary, control, problem
    from external_readings where release_id = ${release} order by from_at, metric`)
  return rows.map(readingOf)
}

/** Returns the stored reading, because another watcher may have read the window first. */
export async function insertReading(
  database: Database,
  release: string,
  { metric, fromMs, canary, control, problem }: StoredReading,
): Promise<StoredReading> {
  const stored = await rowsFrom(database).find<ReadingRow>(sql`
    insert into external_readings (release_id, metric, from_at, canary, control, problem)
    values (${release}, ${metric}, to_timestamp(${fromMs}::float8 / 1000), ${canary}, ${control}, ${problem ?? null})
    on conflict (release_id, metric, from_at) do update set metric = excluded.metric
    returning metric, extract(epoch from from_at)::float8 * 1000 as from_ms, canary, control, problem`)
  return readingOf(stored!)
}
