/** What the pages of models read: one line a model, quality by week, and the windows of drift, each by one bounded statement. */
import sql from 'sql-template-tag'
import type { DriftLevel, DriftPolicy, DriftReport } from '../domain/drift.ts'
import type { QualityReport } from '../domain/quality.ts'
import type { Database } from './postgres.ts'

export interface ModelLine {
  model: string
  about?: string
  champion?: { version: string; since: string; releaseId?: string }
  /** The newest registered; drills aside. */
  latest?: { version: string; createdAt: string }
  retrained?: { startedAt: string; outcome?: string }
  syncedAt: string
}

/** In the order of their names, those after one of them. */
export async function listModelLines(
  database: Database,
  { models, after, limit }: { models?: readonly string[]; after?: string; limit: number },
): Promise<ModelLine[]> {
  const rows = await database.query<{
    name: string
    about: string | null
    synced_at: Date
    version: string | null
    since: Date | null
    release_id: string | null
    latest: string | null
    latest_at: Date | null
    retrained_at: Date | null
    outcome: string | null
  }>(sql`
    select models.name, models.definition ->> 'about' as about, models.synced_at, champions.version, champions.since,
      champions.release_id, newest.version as latest, newest.created_at as latest_at, retrained.started_at as retrained_at,
      retrained.outcome
    from models
      left join champions on champions.model = models.name
      left join lateral (select version, created_at from versions where versions.model = models.name and not drill
        order by created_at desc, version desc limit 1) as newest on true
      left join lateral (select started_at, outcome from retrainings where retrainings.model = models.name
        order by started_at desc limit 1) as retrained on true
    where (${after ?? null}::text is null or models.name > ${after ?? null})
      and (${models === undefined} or models.name = any(${[...(models ?? [])]}::text[]))
    order by models.name limit ${limit}`)
  return rows.map((row) => ({
    model: row.name,
    ...(row.about === null ? {} : { about: row.about }),
    syncedAt: row.synced_at.toISOString(),
    ...(row.version === null || row.since === null
      ? {}
      : {
          champion: {
            version: row.version,
            since: row.since.toISOString(),
            ...(row.release_id === null ? {} : { releaseId: row.release_id }),
          },
        }),
    ...(row.latest === null || row.latest_at === null
      ? {}
      : { latest: { version: row.latest, createdAt: row.latest_at.toISOString() } }),
    ...(row.retrained_at === null
      ? {}
      : {
          retrained: {
            startedAt: row.retrained_at.toISOString(),
            ...(row.outcome === null ? {} : { outcome: row.outcome }),
          },
        }),
  }))
}

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

/** The share of positives among the test rows of a version; undefined where the task has none. */
export async function findPositiveShare(database: Database, version: string): Promise<number | undefined> {
  const [row] = await database.query<{ share: number | null }>(sql`
    select (report ->> 'positives')::float8 / nullif((report ->> 'rows')::float8, 0) as share
    from evaluations where id = (select evaluation_id from versions where version = ${version})`)
  return row?.share ?? undefined
}

export interface AnsweredOutcome {
  /** What the version gave for the whole request; of several instances one after the other. */
  outputs: number[]
  /** Which of them it was. */
  place: number
  value: number | string | boolean
}

/** The newest outcomes there are, those of one version among them, each with what was answered. */
export async function listNewestOutcomes(
  database: Database,
  { model, version, limit }: { model: string; version: string; limit: number },
): Promise<AnsweredOutcome[]> {
  return database.query(sql`
    select answered.outputs, place_of(newest.prediction_id) as place, newest.value
    from (select prediction_id, request_id, value from outcomes order by arrived_at desc limit ${limit}) as newest
      join lateral (
        select outputs, model, version from predictions where predictions.id = newest.request_id
          and at >= moment_of(newest.request_id) - interval '1 minute'
          and at < moment_of(newest.request_id) + interval '10 minutes' limit 1
      ) as answered on answered.model = ${model} and answered.version = ${version}`)
}
