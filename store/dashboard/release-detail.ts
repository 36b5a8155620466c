/**
 * Reads the release page: the basis and the events of a release. Each statement returns a bounded number of rows, however long the
 * release lasted.
 */
import sql from 'sql-template-tag'
import type { LoadTest } from '../../domain/model/load-test.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import type { ReleaseOutcomeKind, ReleaseStage, ReleaseState } from '../../domain/release/state.ts'
import type { Verdict } from '../../domain/verdict.ts'
import type { VersionLineage } from '../../domain/registry/version.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { LoggedRow } from '../../domain/model/logged-rows.ts'
import { listFailedRequests, maxFailedRequests } from '../review/failed-requests.ts'
import type { Database } from '../postgres.ts'
import type { DriftJudgement } from '../monitoring/monitor-windows.ts'
import type { StoredDecision } from '../release/decisions.ts'
import type { AnsweredCommand } from '../commands.ts'
import type { Release } from '../release/releases.ts'
import type { TickCounts } from '../release/evidence.ts'

/** A row of the list of releases. */
export interface ReleaseListItem
  extends
    Pick<ReleaseState, 'id' | 'model' | 'version' | 'strategy' | 'requestedBy'>,
    Pick<Release, 'outcome' | 'reason' | 'startedAt' | 'endedAt'> {
  drill: boolean
  hotfix: boolean
  /** The state of an open release. */
  open?: ReleaseState
}

export interface ReleaseListFilter extends ModelFilter {
  /** `open`, or the outcome. */
  outcome?: ReleaseOutcomeKind | 'open'
  limit: number
  offset: number
}

/** The newest first. */
export const listReleaseLines = (
  database: Database,
  { outcome, limit, offset, ...filter }: ReleaseListFilter,
) =>
  rowsFrom(database).list<ReleaseListItem>(sql`
    select id, model, version, strategy, outcome, reason, requested_by, state ? 'drill' as drill,
      state ? 'hotfix' as hotfix, started_at, ended_at, case when ended_at is null then state end as open
    from releases
    where ${ofModel(filter)}
      and (${outcome ?? null}::text is null or outcome = ${outcome ?? null} or (${outcome ?? null} = 'open' and ended_at is null))
    order by started_at desc, id desc limit ${limit} offset ${offset}`)

/** The versions of those of these ids that are releases. */
export const listVersionsOfReleases = (database: Database, ids: readonly string[]) =>
  rowsFrom(database).list<{ id: string; version: string }>(
    sql`select id, version from releases where id = any(${ids}::text[])`,
  )

/** The provenance and evaluation of a version before its release. */
export interface Candidate {
  artifactDigest: string
  /** The last version with this artifact that was rolled back; it may be this version. */
  rolledBackTwin?: { version: string; at: string }
  evaluationDigest: string
  evaluationId: string
  /** Absent when this build cannot read it. */
  report?: GateReport
  lineage: Partial<VersionLineage>
  createdBy: string
  createdAt: string
  /** The last one of the version. */
  loadTest?: LoadTest
  training: { epochs: number; attempts: number; ms?: number }
  snapshot: { rows: number; bytes: number; asOf: string }
  /** The validation of the batch; absent when it is not stored. */
  validation?: { verdict: string; results: { passed: boolean; message: string; severity: string }[] }
}

export async function findCandidate(database: Database, version: string): Promise<Candidate | undefined> {
  const found = await rowsFrom(database).find<Candidate & { report: Partial<GateReport> }>(sql`
    select versions.artifact_digest, twin.version as "rolled_back_twin.version", twin.rolled_back_at as "rolled_back_twin.at", evaluations.report_digest as evaluation_digest, evaluations.id as evaluation_id,
      evaluations.report, versions.lineage, versions.created_by, versions.created_at, versions.load_test, trainings.epoch as "training.epochs",
      trainings.attempts as "training.attempts",
      (extract(epoch from trainings.ended_at - trainings.started_at) * 1000)::float8 as "training.ms",
      snapshots.rows as "snapshot.rows", snapshots.bytes as "snapshot.bytes", snapshots.as_of as "snapshot.as_of",
      validations.verdict as "validation.verdict",
      jsonb_path_query_array(validations.report, '$.results[*] ? (@.passed == false)[0 to 20]') as "validation.results"
    from versions
      join evaluations on evaluations.id = versions.evaluation_id
      join trainings on trainings.id = versions.training_id
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join validations on validations.id = versions.lineage ->> 'validationId'
      left join lateral (
        select others.version, others.rolled_back_at from versions as others
        where others.model = versions.model and others.artifact_digest = versions.artifact_digest
          and others.rolled_back_at is not null and not others.drill
        order by others.rolled_back_at desc limit 1
      ) as twin on true
    where versions.version = ${version}`)
  return found && { ...found, report: isWhole(found.report) ? found.report : undefined }
}

const isWhole = (report: Partial<GateReport>): report is GateReport =>
  Array.isArray(report.metrics) && Array.isArray(report.slices) && report.policy !== undefined

export interface ShownVerdict
  extends
    Pick<StoredDecision, 'id' | 'at' | 'stage' | 'stageIndex'>,
    Pick<Verdict, 'kind' | 'reasons' | 'statistics'> {}

/** Samples the verdicts of a release: the first and the last of each stage, and others at even distances; the oldest first. */
export const sampleVerdicts = (database: Database, { release, most }: { release: string; most: number }) =>
  rowsFrom(database).list<ShownVerdict>(sql`
    with numbered as (
      select id, row_number() over (order by id) as place, count(*) over () as total,
        lag(stage || stage_index) over (order by id) is distinct from stage || stage_index as first,
        lead(stage || stage_index) over (order by id) is distinct from stage || stage_index as last
      from decisions where release_id = ${release}
    )
    select decisions.id, at, stage, stage_index, kind, reasons, statistics
    from decisions join numbered using (id)
    where first or last or place % greatest(1, ceil(total::float8 / ${most}::int)::int) = 0
    order by decisions.id limit ${2 * most}`)

/** A command with its answer; without one, `at` is the time at which it was recorded. */
export type ShownCommand = Pick<AnsweredCommand, 'command' | 'actor' | 'reason' | 'at'> &
  Partial<Pick<AnsweredCommand, 'accepted' | 'message' | 'stage'>>

/** Those without an answer, and then the newest. */
export const recentCommands = (database: Database, { release, limit }: { release: string; limit: number }) =>
  rowsFrom(database).list<ShownCommand>(sql`
    select kind as command, actor, reason, accepted, message, stage, coalesce(answered_at, at) as at
    from commands where release_id = ${release} order by answered_at desc nulls first, id limit ${limit}`)

/** The requests to one version in one routing generation of one release. */
export interface ArmTotal extends Pick<
  TickCounts,
  'generation' | 'version' | 'arm' | 'requests' | 'errors' | 'invalid' | 'slow95' | 'slow99'
> {
  /** The tick of the first failed request; absent without one. */
  firstBadAt?: string
}

/** A generation has a few arms, and a release has a few dozen generations. */
export const sumArms = (database: Database, { model, release }: { model: string; release: string }) =>
  rowsFrom(database).list<ArmTotal>(sql`
    select generation, version, arm, sum(requests)::float8 as requests, sum(errors)::float8 as errors,
      sum(invalid)::float8 as invalid, sum(slow95)::float8 as slow95, sum(slow99)::float8 as slow99,
      min(tick) filter (where errors + invalid > 0) as first_bad_at
    from tick_counters where model = ${model} and release_id = ${release}
    group by 1, 2, 3 order by 1, 2, 3 limit 500`)

export interface ShownDrift extends Pick<DriftJudgement, 'version' | 'level' | 'report'> {
  toAt: string
}

/** The last drift judgement of the requests to each of these versions, of windows that were over at `until`. */
export const lastDrift = (
  database: Database,
  { model, versions, until }: { model: string; versions: readonly string[]; until?: string | undefined },
) =>
  rowsFrom(database).list<ShownDrift>(sql`
    select asked.version, drift.level, drift.to_at, drift.report
    from unnest(${versions}::text[]) as asked (version), lateral (
      select level, to_at, report from drift_judgements
      where model = ${model} and version = asked.version and subject = 'served'
        and (${until ?? null}::timestamptz is null or to_at <= ${until ?? null}) order by from_at desc, to_at desc limit 1
    ) as drift`)

/** How long a stage has been observed, without the time in which it was paused. */
export interface StageWatch {
  stage: ReleaseStage
  stageIndex: number
  watchedMs: number
}

export const listWatches = (database: Database, release: string) =>
  rowsFrom(database).list<StageWatch>(sql`
    select stage, stage_index, watched_ms from stage_clocks where release_id = ${release} limit 200`)

/** For each release, a text that changes with its state, its commands and its verdicts. */
export const listReleaseMarks = (database: Database, releases: readonly string[]) =>
  rowsFrom(database).list<{ id: string; mark: string }>(sql`
    select id, concat_ws('-', extract(epoch from updated_at),
      (select max(decisions.id) from decisions where release_id = releases.id),
      (select count(*) from commands where release_id = releases.id and answered_at is not null)) as mark
    from releases where id = any(${releases}::text[])`)

export const maxExposed = 100_000

export interface ExposedRequest {
  id: string
  at: string
  instances: number
  latencyUs: number
  routingKey?: string
  /** The error code of a failed request; absent for an answered one. */
  code?: string
  message?: string
  /** The rows of a failed request. */
  inputs?: LoggedRow[]
}

/** The requests that the candidate served or failed, newest first. */
export async function listExposed(
  database: Database,
  {
    id,
    model,
    version,
    fromAt,
    toAt,
  }: Pick<ReleaseState, 'id' | 'model' | 'version'> & { fromAt: string; toAt: string },
): Promise<ExposedRequest[]> {
  const answered = await rowsFrom(database).list<ExposedRequest>(sql`
    select id, at, instances, latency_us, routing_key from predictions
    where model = ${model} and version = ${version} and release_id = ${id} and arm <> 'shadow'
      and at between ${fromAt}::timestamptz - interval '1 minute' and ${toAt}::timestamptz + interval '1 minute'
    order by at desc limit ${maxExposed}`)
  const failed = await listFailedRequests(database, { model, version, release: id, limit: maxFailedRequests })
  return [...failed, ...answered].sort((one, other) => (one.at < other.at ? 1 : -1)).slice(0, maxExposed)
}
