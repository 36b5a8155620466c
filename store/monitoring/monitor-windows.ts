/** Reads the service counts of a monitoring window and stores the windows of each model. */
import sql, { raw } from 'sql-template-tag'
import type { ServiceFacts } from '../../domain/monitoring/service-level.ts'
import type { Trigger } from '../../domain/monitoring/retraining-triggers.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { DriftEvidence, DriftLevel, DriftPolicy, DriftReport } from '../../domain/monitoring/drift.ts'
import { DomainError } from '../../domain/errors.ts'
import type { Maturity, LabelPolicy } from '../../domain/monitoring/label-maturity.ts'
import type { GatePolicy } from '../../domain/evaluation/policy.ts'
import type { QualityReport } from '../../domain/monitoring/quality.ts'

export type ServiceCounts = Omit<ServiceFacts, 'missing' | 'outside' | 'champion' | 'championMs' | 'windowMs'>

/** The counts of all arms that serve callers. Ages count from the end of the window. */
export async function readService(database: Database, { model, fromMs, toMs }: Span): Promise<ServiceCounts> {
  const [row] = await database.query<{
    requests: number
    errors: number
    invalid: number
    p50: number | null
    p95: number | null
    p99: number | null
    requestAgeMs: number | null
    outcomeAgeMs: number | null
    hasBatches: boolean
    replicas: number
    predictions: number
    rssMb: number | null
    cpuShare: number | null
    loopDelayMs: number | null
  }>(sql`
    with ticks as (
      select * from tick_counters
      where model = ${model} and arm <> 'shadow' and tick >= ${iso(fromMs)} and tick < ${iso(toMs)}
    ), buckets as (
      select key::float8 as bound, sum(value::float8) as count from ticks, jsonb_each_text(latency) group by key::float8
    ), running as (
      select bound, sum(count) over (order by bound) as reached, sum(count) over () as total from buckets
    )
    select coalesce(sum(requests), 0)::float8 as requests, coalesce(sum(errors), 0)::float8 as errors,
      coalesce(sum(invalid), 0)::float8 as invalid,
      (select min(bound) filter (where reached >= 0.5 * total) from running) as p50,
      (select min(bound) filter (where reached >= 0.95 * total) from running) as p95,
      (select min(bound) filter (where reached >= 0.99 * total) from running) as p99,
      (select extract(epoch from ${iso(toMs)}::timestamptz - max(tick))::float8 * 1000 from tick_counters
        where model = ${model} and arm <> 'shadow' and requests > 0 and tick < ${iso(toMs)}) as "requestAgeMs",
      (select extract(epoch from ${iso(toMs)}::timestamptz - arrived_at)::float8 * 1000 from outcomes
        where arrived_at < ${iso(toMs)}
          and exists (select from predictions where id = outcomes.request_id and model = ${model})
        order by arrived_at desc limit 1) as "outcomeAgeMs",
      exists (select from batches where model = ${model} and started_at < ${iso(toMs)}) as "hasBatches",
      (select count(*)::int from replicas where lease_until > clock_timestamp()) as replicas,
      (select coalesce(sum(instances), 0)::float8 from predictions
        where model = ${model} and arm <> 'batch' and at >= ${iso(fromMs)} and at < ${iso(toMs)}) as predictions,
      needs.*
    from ticks right join (
      select max(rss_mb) as "rssMb", max(cpu_share) as "cpuShare", max(loop_delay_ms) as "loopDelayMs"
      from replica_resources join replicas on id = replica_id where lease_until > clock_timestamp()
    ) as needs on true group by "rssMb", "cpuShare", "loopDelayMs"`)
  const { p50, p95, p99, rssMb, cpuShare, loopDelayMs, ...counts } = row!
  return {
    ...counts,
    resources:
      rssMb === null || cpuShare === null || loopDelayMs === null ? null : { rssMb, cpuShare, loopDelayMs },
    latencyUs: p50 === null || p95 === null || p99 === null ? null : { p50, p95, p99 },
  }
}

/** The counts of one version only, because a failing canary is not a fault of the champion. */
export async function countVersionRequests(
  database: Database,
  { model, version, fromMs, toMs }: VersionSpan,
): Promise<{ requests: number; bad: number }> {
  const [row] = await database.query<{ requests: number; bad: number }>(sql`
    select coalesce(sum(requests), 0)::float8 as requests, coalesce(sum(errors + invalid), 0)::float8 as bad
    from tick_counters
    where model = ${model} and version = ${version} and arm <> 'shadow'
      and tick >= ${iso(fromMs)} and tick < ${iso(toMs)}`)
  return row!
}

export interface MonitorWindow extends Span {
  version?: string
  facts: Record<string, unknown>
  findings: Record<string, unknown>
  trigger?: Record<string, unknown>
  judge: string
}

const windowColumns = sql`model, (extract(epoch from from_at) * 1000)::float8 as from_ms,
  (extract(epoch from to_at) * 1000)::float8 as to_ms, version, facts, findings, trigger, judge`

/** Stores a window unless it is already stored. */
export async function insertMonitorWindow(database: Database, window: MonitorWindow): Promise<void> {
  const { model, fromMs, toMs, version, facts, findings, trigger, judge } = window
  await database.query(sql`
    insert into monitor_windows (model, from_at, to_at, version, facts, findings, trigger, judge)
    values (${model}, ${iso(fromMs)}, ${iso(toMs)}, ${version ?? null}, ${JSON.stringify(facts)}, ${JSON.stringify(findings)},
      ${trigger === undefined ? null : JSON.stringify(trigger)}, ${judge})
    on conflict do nothing`)
}

/** The end of the last window of a model, and the time of the database. */
export async function findLastWindow(
  database: Database,
  model: string,
): Promise<{ lastMs: number | undefined; nowMs: number }> {
  const [row] = await database.query<{ last: Date | null; now: Date }>(sql`
    select (select max(to_at) from monitor_windows where model = ${model}) as last, clock_timestamp() as now`)
  return { lastMs: row!.last?.getTime(), nowMs: row!.now.getTime() }
}

export const findMonitorWindow = (database: Database, { model, toMs }: { model: string; toMs: number }) =>
  rowsFrom(database).find<MonitorWindow>(
    sql`select ${windowColumns} from monitor_windows where model = ${model} and to_at = ${iso(toMs)}`,
  )

export interface Unmeasured {
  model: string
  /** Why the last window did not measure quality; absent when it did. */
  quality?: string
  /** The slices, groups and the business metric that it could not determine, each with the reason. */
  parts: string[]
}

/** What the last window of each of these models did not measure; a model without a window is left out. */
export const listUnmeasured = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<Unmeasured>(sql`
    select named.model, case when quality ->> 'level' = 'insufficient'
        then array_to_string(array(select jsonb_array_elements_text(quality -> 'reasons')), '; ') end as quality,
      array(select jsonb_array_elements_text(problems)) as parts
    from unnest(${models}::text[]) as named (model)
      cross join lateral (
        select findings -> 'quality' as quality, findings #> '{breakdown,problems}' as problems
        from monitor_windows where monitor_windows.model = named.model order by to_at desc limit 1
      ) as last`)

/** The newest first. */
export const listMonitorWindows = (
  database: Database,
  { model, limit = 100 }: { model: string; limit?: number },
) =>
  rowsFrom(database).list<MonitorWindow>(
    sql`select ${windowColumns} from monitor_windows where model = ${model} order by to_at desc limit ${limit}`,
  )

/** The retrainings that the monitor requested with this key, from stored windows; the newest first. */
export const listTriggers = (
  database: Database,
  { model, dedupeKey }: { model: string; dedupeKey: string },
) =>
  rowsFrom(database).column<Trigger>(sql`
    select trigger -> 'trigger' from monitor_windows
    where model = ${model} and trigger ->> 'action' = 'start' and trigger -> 'trigger' ->> 'dedupeKey' = ${dedupeKey}
    order by to_at desc limit 100`)

// Defines periods of a model and of a version, which monitoring reads and judges.

export interface Span {
  model: string
  /** Milliseconds since 1970. */
  fromMs: number
  toMs: number
}

export interface VersionSpan extends Span {
  version: string
}

export const iso = (ms: number): string => new Date(ms).toISOString()

// Stores the drift verdict of each window of a version, with its counts.

export interface NewDriftJudgement extends VersionSpan {
  /** Served requests, or the labels of their outcomes. */
  subject: 'served' | 'label'
  report: DriftReport
  /** `reference`: present when it is not the profile of the version. */
  inputs: Pick<DriftEvidence, 'current' | 'previous' | 'newest' | 'importance' | 'weeks'> &
    Partial<Pick<DriftEvidence, 'reference'>> & { maturity?: Maturity }
  policy: DriftPolicy
}

export interface DriftJudgement extends NewDriftJudgement {
  id: number
  level: DriftLevel
  /** ISO 8601. */
  at: string
}

/** Stores a judgement unless the window has one. Returns the first judgement of the window. */
export async function insertDriftJudgement(
  database: Database,
  each: NewDriftJudgement,
): Promise<DriftJudgement> {
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into drift_judgements (model, version, subject, from_at, to_at, level, report, inputs, policy, judge)
    values (${each.model}, ${each.version}, ${each.subject}, ${from}, ${to}, ${each.report.level},
      ${JSON.stringify(each.report)}, ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.report.judge})
    on conflict (model, version, subject, from_at, to_at) do nothing`)
  const stored = await findDriftJudgement(database, each)
  if (stored === undefined)
    throw new DomainError('internal', `the drift of ${each.version} until ${to} was not stored`)
  return stored
}

const judgementColumns =
  raw(`id, model, version, subject, (extract(epoch from from_at) * 1000)::float8 as from_ms,
  (extract(epoch from to_at) * 1000)::float8 as to_ms, level, report, inputs, policy, at`)

/** The judgements of all models, the newest first. */
export const listDriftJudgements = (database: Database, limit: number) =>
  rowsFrom(database).list<DriftJudgement>(
    sql`select ${judgementColumns} from drift_judgements order by id desc limit ${limit}`,
  )

export const findDriftJudgement = (
  database: Database,
  { model, version, subject, fromMs, toMs }: VersionSpan & Pick<NewDriftJudgement, 'subject'>,
) =>
  rowsFrom(database).find<DriftJudgement>(sql`
    select ${judgementColumns} from drift_judgements where model = ${model} and version = ${version} and subject = ${subject}
      and from_at = ${iso(fromMs)} and to_at = ${iso(toMs)}`)

// Stores the quality verdict of each window of a version, with its inputs.

export interface QualityJudgement extends VersionSpan {
  report: QualityReport
  inputs: { maturity: Maturity; predictions: number; labels: number }
  policy: { gate: GatePolicy; labels: LabelPolicy }
}

/** Stores a judgement unless the window has one. Returns the first judgement of the window. */
export async function insertQualityJudgement(
  database: Database,
  each: QualityJudgement,
): Promise<QualityJudgement & { id: number }> {
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into quality_judgements (model, version, from_at, to_at, level, report, inputs, policy, judge)
    values (${each.model}, ${each.version}, ${from}, ${to}, ${each.report.level}, ${JSON.stringify(each.report)},
      ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.report.judge})
    on conflict (model, version, from_at, to_at) do nothing`)
  const [row] = await database.query<
    Pick<QualityJudgement, 'report' | 'inputs' | 'policy'> & { id: number }
  >(sql`
    select id, report, inputs, policy from quality_judgements
    where model = ${each.model} and version = ${each.version} and from_at = ${from} and to_at = ${to}`)
  if (row === undefined) throw new DomainError('internal', `the quality of ${each.version} was not stored`)
  return { ...each, ...row }
}

/**
 * How long outcomes take plus the length of their window, in milliseconds, from the newest judgement of the model; undefined before the
 * first one.
 */
export async function findLabelTime(database: Database, model: string): Promise<number | undefined> {
  const [row] = await database.query<{ ms: number | null }>(sql`
    select (inputs #>> '{maturity,horizonMs}')::float8 + extract(epoch from to_at - from_at)::float8 * 1000 as ms
    from quality_judgements where model = ${model} order by to_at desc, id desc limit 1`)
  return row?.ms == null ? undefined : Math.ceil(row.ms)
}

/** The last judged window of matured outcomes of a version, with the delay of outcomes; undefined before the first one. */
export async function findLabelWindow(
  database: Database,
  { model, version }: { model: string; version: string },
): Promise<{ fromMs: number; toMs: number; nowMs: number; delayMs: number } | undefined> {
  const [row] = await database.query<{ from_at: Date; to_at: Date; delay: number }>(sql`
    select from_at, to_at, (inputs #>> '{maturity,horizonMs}')::float8 as delay
    from quality_judgements
    where model = ${model} and version = ${version} and inputs #>> '{maturity,horizonMs}' is not null
    order by to_at desc, id desc limit 1`)
  if (row === undefined) return undefined
  const toMs = row.to_at.getTime()
  return { fromMs: row.from_at.getTime(), toMs, nowMs: toMs + row.delay, delayMs: row.delay }
}

// Stores the verdicts on a window before its outcomes arrive, with their inputs.

export interface NewServingJudgement<Statistic> extends VersionSpan {
  kind: 'estimate' | 'skew'
  verdict: string
  statistic: Statistic
  inputs: object
  policy: object
  /** The name and version of the judge. */
  judge: string
}

/** Stores a judgement unless the window has one. Returns the id and the statistic of the first judgement. */
export async function insertServingJudgement<Statistic extends object>(
  database: Database,
  each: NewServingJudgement<Statistic>,
): Promise<{ id: number; statistic: Statistic }> {
  const { kind, model, version } = each
  const [from, to] = [iso(each.fromMs), iso(each.toMs)]
  await database.query(sql`
    insert into serving_judgements (kind, model, version, from_at, to_at, verdict, statistic, inputs, policy, judge)
    values (${kind}, ${model}, ${version}, ${from}, ${to}, ${each.verdict}, ${JSON.stringify(each.statistic)},
      ${JSON.stringify(each.inputs)}, ${JSON.stringify(each.policy)}, ${each.judge})
    on conflict (kind, model, version, from_at, to_at) do nothing`)
  const [row] = await database.query<{ id: number; statistic: Statistic }>(sql`
    select id, statistic from serving_judgements
    where kind = ${kind} and model = ${model} and version = ${version} and from_at = ${from} and to_at = ${to}`)
  if (row === undefined) throw new DomainError('internal', `the ${kind} of ${version} was not stored`)
  return row
}
