/**
 * Stores how often feature values and scores fell into the bins of a reference profile, by the hour. Counts are absolute for a replica and
 * an hour, so that writing them again changes nothing.
 */
import sql from 'sql-template-tag'
import { mergeCounts, type DriftWindow } from '../../domain/monitoring/drift-window.ts'
import { iso, type VersionSpan } from '../monitoring/span.ts'
import type { Database } from '../postgres.ts'

export interface FeatureCounts {
  model: string
  version: string
  /** When the hour began, in milliseconds of the database's time. */
  hourMs: number
  /** `range`: of a number with limits, how many values lay within and outside of them. */
  kind: 'feature' | 'score' | 'range'
  name: string
  /** One a bin of the profile. */
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

/** How many values of each number with limits lay within and outside of them, in the counts that began in [fromMs, toMs). */
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
 * What all replicas have counted of a version in the hours that began in [fromMs, toMs). Counts that do not fit each other
 * are answered as none at all, which the judge calls unreadable. Undefined when nothing was counted.
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

/** The same for each hour by itself, oldest first; hours without a count are left out. */
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
