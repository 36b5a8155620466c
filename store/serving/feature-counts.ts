/**
 * Stores how often feature values and scores fell into the bins of a reference profile, hour by hour. Counts are absolute per replica and
 * hour, so that writing them again changes nothing.
 */
import sql from 'sql-template-tag'
import { mergeCounts, type DriftWindow } from '../../domain/monitoring/drift-window.ts'
import { iso, type VersionSpan } from '../monitoring/monitor-windows.ts'
import type { Database } from '../postgres.ts'

export interface FeatureCounts {
  model: string
  version: string
  /** The start of the hour, in milliseconds of the database's time. */
  hourMs: number
  /** `range`: for a number with limits, the number of values within and outside them. */
  kind: 'feature' | 'score' | 'range'
  name: string
  /** One count per bin of the profile. */
  counts: number[]
}

export async function writeFeatureCounts(
  database: Database,
  { replica, rows }: { replica: string; rows: readonly FeatureCounts[] },
): Promise<void> {
  const sent = rows.map((row) => ({ ...row, hour: iso(row.hourMs) }))
  await database.query(sql`
    insert into feature_counts (replica_id, model, version, hour, kind, name, counts)
    select ${replica}, model, version, hour, kind, name, counts
    from jsonb_to_recordset(${JSON.stringify(sent)}::jsonb)
      as row (model text, version text, hour timestamptz, kind text, name text, counts bigint[])
    on conflict (model, version, hour, kind, name, replica_id)
    do update set counts = excluded.counts, flushed_at = now()`)
}

/** The number of values within and outside the limits of each number, in the counts that began in [fromMs, toMs). */
export async function findRanges(
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<{ name: string; within: number; outside: number }[]> {
  return database.query(sql`
    select name, sum(counts[1])::float8 as within, sum(counts[2])::float8 as outside from feature_counts
    where model = ${model} and version = ${version} and kind = 'range'
      and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}
    group by name order by name`)
}

/**
 * The counts of a version over all replicas, in the hours that began in [fromMs, toMs). Counts with different bins become empty, which
 * the judge reports as unreadable. Undefined without counts.
 */
export async function findWindow(
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<DriftWindow | undefined> {
  const rows = await database.query<CountRow>(sql`
    select kind, name, counts from feature_counts
    where model = ${model} and version = ${version} and kind <> 'range'
      and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}`)
  return rows.length === 0 ? undefined : windowOf(rows)
}

/** The same for each hour separately, oldest first; hours without counts are left out. */
export async function listHours(
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<{ hourMs: number; counts: DriftWindow }[]> {
  const rows = await database.query<CountRow & { hour_ms: number }>(sql`
    select (extract(epoch from hour) * 1000)::float8 as hour_ms, kind, name, counts from feature_counts
    where model = ${model} and version = ${version} and kind <> 'range'
      and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}
    order by hour`)
  const hours = new Map<number, CountRow[]>()
  for (const row of rows) hours.set(row.hour_ms, [...(hours.get(row.hour_ms) ?? []), row])
  return [...hours].map(([hourMs, counted]) => ({ hourMs, counts: windowOf(counted) }))
}

interface CountRow {
  kind: FeatureCounts['kind']
  name: string
  counts: string[]
}

function windowOf(rows: readonly CountRow[]): DriftWindow {
  const groups = new Map<string, { kind: FeatureCounts['kind']; name: string; all: number[][] }>()
  for (const { kind, name, counts } of rows) {
    const key = `${kind} ${name}`
    const group = groups.get(key) ?? { kind, name, all: [] }
    group.all.push(counts.map(Number))
    groups.set(key, group)
  }
  const window: DriftWindow = { features: {} }
  for (const { kind, name, all } of groups.values()) {
    const merged = mergeCounts(all) ?? []
    if (kind === 'score' && name === 'score') window.score = merged
    else if (kind === 'score') window.scores = { ...window.scores, [name]: merged }
    else window.features[name] = merged
  }
  return window
}
