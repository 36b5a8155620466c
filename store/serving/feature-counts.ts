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

/** The id of the counts that a key sends for an exported predictor, in place of that of a replica. */
export const exportIdOf = (key: string, sender: string): string => `export:${key}:${sender}`

/**
 * The rows that judge a version: those of the replicas, or, where none of them has counted in this time, those that exports have sent. The two
 * are never added, because what a key sends could hide or invent a drift of what the replicas have seen.
 */
function judging(rows: readonly CountRow[]): readonly CountRow[] {
  const counted = rows.filter(({ exported }) => !exported)
  return counted.length === 0 ? rows : counted
}

/** All counts of a version in the hours that began in [fromMs, toMs), the oldest hour first. */
const rowsIn = (database: Database, { model, version, fromMs, toMs }: VersionSpan) =>
  database.query<CountRow>(sql`
    select (extract(epoch from hour) * 1000)::float8 as hour_ms, kind, name, counts,
      starts_with(replica_id, 'export:') as exported
    from feature_counts
    where model = ${model} and version = ${version} and kind <> 'range'
      and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}
    order by hour`)

/**
 * The counts of a version in the hours that began in [fromMs, toMs). Counts with different bins become empty, which
 * the judge reports as unreadable. Undefined without counts.
 */
export async function findWindow(
  database: Database,
  span: VersionSpan,
): Promise<(DriftWindow & { isExported?: true }) | undefined> {
  const rows = judging(await rowsIn(database, span))
  return rows.length === 0 ? undefined : { ...windowOf(rows), ...markOf(rows) }
}

const markOf = (rows: readonly CountRow[]): { isExported?: true } =>
  rows.some(({ exported }) => exported) ? { isExported: true } : {}

/** The same for each hour separately, oldest first; hours without counts are left out. */
export const listHours = async (database: Database, span: VersionSpan): Promise<StoredHour[]> =>
  (await listHoursAndExports(database, span)).hours

/** The hours that judge a version, and what exports have sent of it, whether it judges or not. */
export async function listHoursAndExports(
  database: Database,
  span: VersionSpan,
): Promise<{ hours: StoredHour[]; exported: StoredHour[] }> {
  const rows = await rowsIn(database, span)
  return { hours: hoursOf(judging(rows)), exported: hoursOf(rows.filter(({ exported }) => exported)) }
}

interface StoredHour {
  hourMs: number
  counts: DriftWindow
  /** Whether exports have sent them. */
  isExported?: true
}

function hoursOf(rows: readonly CountRow[]): StoredHour[] {
  const hours = new Map<number, CountRow[]>()
  for (const row of rows) {
    const known = hours.get(row.hour_ms)
    if (known === undefined) hours.set(row.hour_ms, [row])
    else known.push(row)
  }
  return [...hours].map(([hourMs, counted]) => ({
    hourMs,
    counts: windowOf(counted),
    ...markOf(counted),
  }))
}

/**
 * The rows that the other senders of a key claim of a version in these hours, by hour, kind and name; no other request of the key adds to them
 * meanwhile.
 */
export async function lockExportCounts(
  database: Database,
  {
    key,
    sender,
    model,
    version,
    hours,
  }: { key: string; sender: string; model: string; version: string; hours: readonly number[] },
): Promise<ReadonlyMap<string, number>> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('export_counts'), hashtext(${key}))`)
  const rows = await database.query<{ hour_ms: number; kind: string; name: string; rows: number }>(sql`
    select (extract(epoch from hour) * 1000)::float8 as hour_ms, kind, name, sum(count)::float8 as rows
    from feature_counts, unnest(counts) as count
    where model = ${model} and version = ${version} and hour = any(${hours.map(iso)}::timestamptz[])
      and starts_with(replica_id, ${exportIdOf(key, '')})
      and replica_id <> ${exportIdOf(key, sender)}
    group by hour, kind, name`)
  return new Map(rows.map(({ hour_ms, kind, name, rows: count }) => [`${hour_ms} ${kind} ${name}`, count]))
}

interface CountRow {
  hour_ms: number
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
