/**
 * Reads the reference counts of drift: those of the version itself and, for days of which it served only a part, the logged requests of
 * all versions, counted again in its bins.
 */
import sql from 'sql-template-tag'
import { partReader } from '../../domain/model/feature-parts.ts'
import { isLoggedDigest, type LoggedRow } from '../../domain/model/logged-rows.ts'
import {
  countBins,
  defaultCountMs,
  roundedProfile,
  type ReferenceProfile,
} from '../../domain/model/reference-profile.ts'
import { sumOf } from '@tenure/sequential'
import type { CountedHour } from '../../domain/monitoring/drift-history.ts'
import type { Database } from '../postgres.ts'
import { iso, type VersionSpan } from '../monitoring/monitor-windows.ts'
import { listHours } from './feature-counts.ts'

type ReadPart = ReturnType<typeof partReader>

const dayMs = 86_400_000
/** Instances per day that are counted again: enough for the PSI of a feature, few enough to do it every hour. */
const recounted = 2_000
/** The share of an hour's rows that the version must have served for its counts of the hour to count. */
const minHourShare = 0.25
/** The share of a day's rows that such hours must have. */
const minDayShare = 0.9

/** The hours of the periods, oldest first; an hour in two periods once. */
export async function listReferenceHours(
  database: Database,
  { model, version, profile }: { model: string; version: string; profile: ReferenceProfile },
  spans: readonly { fromMs: number; toMs: number }[],
): Promise<CountedHour[]> {
  const found = new Map<number, CountedHour>()
  for (const { fromMs, toMs } of spans)
    for (let dayFromMs = fromMs; dayFromMs < toMs; dayFromMs += dayMs) {
      const span = { model, version, fromMs: dayFromMs, toMs: Math.min(toMs, dayFromMs + dayMs) }
      const hours =
        (await listOwnHours(database, profile, span)) ?? (await countAgain(database, profile, span))
      for (const hour of hours) found.set(hour.hourMs, hour)
    }
  return [...found.values()].sort((a, b) => a.hourMs - b.hourMs)
}

/**
 * The counts of the version itself; undefined for a day of which it served only a part. Hours counted again are a sample, so beside the
 * version's own hours they would hardly count, and two hours of an evening would stand for the day.
 */
async function listOwnHours(
  database: Database,
  { everyMs = defaultCountMs }: ReferenceProfile,
  span: VersionSpan,
): Promise<CountedHour[] | undefined> {
  const { model, version, fromMs, toMs } = span
  const rows = await database.query<{ hour_ms: number; own: number; all: number }>(sql`
    with counted as (
      select floor(extract(epoch from hour) * 1000 / ${everyMs}::float8) * ${everyMs}::float8 as hour_ms, version, name,
        sum((select sum(n) from unnest(counts) as n)) as rows
      from feature_counts
      where model = ${model} and kind = 'feature' and hour >= ${iso(fromMs)} and hour < ${iso(toMs)}
      group by 1, 2, 3
    ), served as (
      select hour_ms, version, max(rows)::float8 as rows from counted group by hour_ms, version
    )
    select hour_ms, coalesce(sum(rows) filter (where version = ${version}), 0) as own, sum(rows) as all
    from served group by hour_ms`)
  const served = rows.filter(({ own, all }) => own > 0 && own >= minHourShare * all)
  const allOf = (hours: typeof rows) => sumOf(hours.map(({ all }) => all))
  if (served.length === 0 || allOf(served) < minDayShare * allOf(rows)) return undefined
  const hours = new Set(served.map((row) => row.hour_ms))
  return (await listHours(database, span)).filter(({ hourMs }) => hours.has(hourMs))
}

/** Without scores, because those of another version are not comparable, and without features that the version of a request lacked. */
async function countAgain(
  database: Database,
  { features, tokens, everyMs = defaultCountMs }: ReferenceProfile,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<CountedHour[]> {
  const rows = await database.query<{ at_ms: number; version: string; row: LoggedRow }>(sql`
    with sample as (
      select id, at, version, instances, features from predictions
      where model = ${model} and at >= ${iso(fromMs)} and at < ${iso(toMs)} order by md5(id::text) limit ${recounted}
    )
    select (extract(epoch from at) * 1000)::float8 as at_ms, version,
      instance_of(sample.features, manifest -> 'preprocessing', instances, place) as row
    from sample join versions using (version), generate_series(0, instances - 1) as place
    where manifest -> 'preprocessing' is not null
    order by md5(id::text), place limit ${recounted}`)
  const partOf = new Map(features.map((profile) => [profile, partReader({ tokens }, profile.name)]))
  const hours = new Map<number, (typeof rows)[number][]>()
  for (const each of rows) {
    const hourMs = Math.floor(each.at_ms / everyMs) * everyMs
    hours.set(hourMs, [...(hours.get(hourMs) ?? []), each])
  }
  /** A digest has its parts. The share of unknown tokens is that of the version that served, which is no measure of another. */
  const valuesOf = (name: string, { row, version: servedBy }: (typeof rows)[number], read: ReadPart) => {
    const [feature, part] = name.split('.')
    const value = row[feature!]
    if (value === undefined) return []
    if (!isLoggedDigest(value)) return [read(value)]
    const isComparable = part !== undefined && part in value && (part !== 'unknown' || servedBy === version)
    return isComparable ? [value[part]!] : []
  }
  return [...hours].map(([hourMs, asked]) => ({
    hourMs,
    counts: {
      features: Object.fromEntries(
        features.map((profile) => {
          const values = asked.flatMap((each) => valuesOf(profile.name, each, partOf.get(profile)!))
          return [profile.name, countBins(roundedProfile(profile), values)]
        }),
      ),
    },
  }))
}
