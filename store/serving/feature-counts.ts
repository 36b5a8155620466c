/**
 * Stores how often feature values and scores fell into the bins of a reference profile, hour by hour. Counts are absolute per replica and
 * hour, so that writing them again changes nothing.
 */
import sql, { type Sql } from 'sql-template-tag'
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

/** The id of the counts that a key sends for an exported predictor, in place of that of a replica. */
export const exportIdOf = (key: string, sender: string): string => `export:${key}:${sender}`

/**
 * The rows that judge a version: those of the replicas, or, where none of them has counted in this time, those that exports have sent. The two
 * are never added, because what a key sends could hide or invent a drift of what the replicas have seen.
 */
const judgedRows = ({ model, version, fromMs, toMs }: VersionSpan): Sql => {
  const span = sql`model = ${model} and version = ${version} and kind <> 'range' and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}`
  return sql`${span} and (not starts_with(replica_id, 'export:')
    or not exists (select from feature_counts where ${span} and not starts_with(replica_id, 'export:')))`
}

/**
 * The counts of a version in the hours that began in [fromMs, toMs). Counts with different bins become empty, which
 * the judge reports as unreadable. Undefined without counts.
 */
export async function findWindow(
  database: Database,
  span: VersionSpan,
): Promise<(DriftWindow & { isExported?: true }) | undefined> {
  const rows = await database.query<CountRow>(
    sql`select kind, name, counts, starts_with(replica_id, 'export:') as exported from feature_counts where ${judgedRows(span)}`,
  )
  return rows.length === 0 ? undefined : { ...windowOf(rows), ...markOf(rows) }
}

const markOf = (rows: readonly CountRow[]): { isExported?: true } =>
  rows.some(({ exported }) => exported) ? { isExported: true } : {}

/** The same for each hour separately, oldest first; hours without counts are left out. */
export const listHours = (database: Database, span: VersionSpan): Promise<StoredHour[]> =>
  hoursWhere(database, judgedRows(span))

/** What exports have sent of a version, whether it judges or not. */
export const listExportHours = (
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<StoredHour[]> =>
  hoursWhere(
    database,
    sql`model = ${model} and version = ${version} and kind <> 'range'
      and hour >= ${iso(fromMs)} and hour < ${iso(toMs)} and starts_with(replica_id, 'export:')`,
  )

interface StoredHour {
  hourMs: number
  counts: DriftWindow
  /** Whether exports have sent them. */
  isExported?: true
}

async function hoursWhere(database: Database, condition: Sql): Promise<StoredHour[]> {
  const rows = await database.query<CountRow & { hour_ms: number }>(sql`
    select (extract(epoch from hour) * 1000)::float8 as hour_ms, kind, name, counts,
      starts_with(replica_id, 'export:') as exported
    from feature_counts where ${condition} order by hour`)
  const hours = new Map<number, CountRow[]>()
  for (const row of rows) hours.set(row.hour_ms, [...(hours.get(row.hour_ms) ?? []), row])
  return [...hours].map(([hourMs, counted]) => ({
    hourMs,
    counts: windowOf(counted),
    ...markOf(counted),
  }))
}

/** The rows that the other senders of a key claim of a version, by hour, kind and name; no other request of the key adds to them meanwhile. */
export async function lockExportCounts(
  database: Database,
  { key, sender, model, version }: { key: string; sender: string; model: string; version: string },
): Promise<ReadonlyMap<string, number>> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('export_counts'), hashtext(${key}))`)
  const rows = await database.query<{ hour_ms: number; kind: string; name: string; rows: number }>(sql`
    select (extract(epoch from hour) * 1000)::float8 as hour_ms, kind, name, sum(count)::float8 as rows
    from feature_counts, unnest(counts) as count
    where model = ${model} and version = ${version} and starts_with(replica_id, ${exportIdOf(key, '')})
      and replica_id <> ${exportIdOf(key, sender)}
    group by hour, kind, name`)
  return new Map(rows.map(({ hour_ms, kind, name, rows: count }) => [`${hour_ms} ${kind} ${name}`, count]))
}

interface CountRow {
  kind: FeatureCounts['kind']
  name: string
  counts: string[]
  exported: boolean
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
