/**
 * Reads the release page: what the release rests on and what has happened in it. Each statement returns a number of rows that does not
 * grow with the length of the release.
 */
import sql from 'sql-template-tag'
import type { DriftLevel, DriftReport } from '../../domain/monitoring/drift.ts'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import type { ReleaseOutcomeKind, ReleaseStage } from '../../domain/release/state.ts'
import type { Reason, VerdictKind } from '../../domain/verdict.ts'
import type { VersionLineage } from '../../domain/registry/version.ts'
import type { Database } from '../postgres.ts'
import type { ReleaseCommand } from '../release/releases.ts'

/** A row of the list of releases. */
export interface ReleaseListItem {
  id: string
  model: string
  version: string
  strategy: string
  stage: ReleaseStage
  shareBp: number
  paused: boolean
  outcome?: ReleaseOutcomeKind
  reason?: string
  requestedBy: string
  drill: boolean
  hotfix: boolean
  startedAt: string
  endedAt?: string
}

export interface ReleaseListFilter {
  /** All models when absent. */
  models?: readonly string[]
  /** `open`, or how it ended. */
  outcome?: ReleaseOutcomeKind | 'open'
  limit: number
  offset: number
}

/** The newest first. */
export async function listReleaseLines(
  database: Database,
  { models, outcome, limit, offset }: ReleaseListFilter,
): Promise<ReleaseListItem[]> {
  const rows = await database.query<
    Omit<ReleaseListItem, 'outcome' | 'reason' | 'startedAt' | 'endedAt'> & {
      outcome: ReleaseOutcomeKind | null
      reason: string | null
      started: Date
      ended: Date | null
    }
  >(sql`
    select id, model, version, strategy, stage, share_bp as "shareBp", paused, outcome, reason,
      requested_by as "requestedBy", state ? 'drill' as drill, state ? 'hotfix' as hotfix,
      started_at as started, ended_at as ended
    from releases
    where (${models ?? null}::text[] is null or model = any(${models ?? null}::text[]))
      and (${outcome ?? null}::text is null or outcome = ${outcome ?? null}
        or (${outcome ?? null} = 'open' and ended_at is null))
    order by started_at desc, id desc limit ${limit} offset ${offset}`)
  return rows.map(({ outcome: end, reason, started, ended, ...row }) => ({
    ...row,
    startedAt: started.toISOString(),
    ...(end === null ? {} : { outcome: end }),
    ...(reason === null ? {} : { reason }),
    ...(ended === null ? {} : { endedAt: ended.toISOString() }),
  }))
}

/** What a version was made of and what was said of it before its release. */
export interface Candidate {
  artifactDigest: string
  evaluationDigest: string
  evaluationId: string
  /** Absent when this build cannot read it. */
  report?: GateReport
  lineage: Partial<VersionLineage>
  createdBy: string
  createdAt: string
  training: { epochs: number; attempts: number; ms?: number }
  snapshot: { rows: number; bytes: number; asOf: string }
  /** How the batch was found; absent when its validation is not there. */
  validation?: { verdict: string; results: { passed: boolean; message: string; severity: string }[] }
}

export async function findCandidate(database: Database, version: string): Promise<Candidate | undefined> {
  const [row] = await database.query<{
    artifact: string
    evaluation: string
    evaluation_id: string
    report: Partial<GateReport>
    lineage: Partial<VersionLineage>
    created_by: string
    created_at: Date
    epochs: number
    attempts: number
    ms: number | null
    rows: number
    bytes: number
    as_of: Date
    validation: string | null
    results: unknown
  }>(sql`
    select versions.artifact_digest as artifact, evaluations.report_digest as evaluation, evaluations.id as evaluation_id,
      evaluations.report, versions.lineage, versions.created_by, versions.created_at, trainings.epoch as epochs,
      trainings.attempts, (extract(epoch from trainings.ended_at - trainings.started_at) * 1000)::float8 as ms,
      snapshots.rows, snapshots.bytes, snapshots.as_of, validations.verdict as validation,
      jsonb_path_query_array(validations.report, '$.results[*] ? (@.passed == false)[0 to 20]') as results
    from versions
      join evaluations on evaluations.id = versions.evaluation_id
      join trainings on trainings.id = versions.training_id
      join snapshots on snapshots.digest = trainings.snapshot_digest
      left join validations on validations.id = versions.lineage ->> 'validationId'
    where versions.version = ${version}`)
  return (
    row && {
      artifactDigest: row.artifact,
      evaluationDigest: row.evaluation,
      evaluationId: row.evaluation_id,
      ...(isWhole(row.report) ? { report: row.report } : {}),
      lineage: row.lineage,
      createdBy: row.created_by,
      createdAt: row.created_at.toISOString(),
      training: {
        epochs: row.epochs,
        attempts: row.attempts,
        ...(row.ms === null ? {} : { ms: row.ms }),
      },
      snapshot: { rows: row.rows, bytes: row.bytes, asOf: row.as_of.toISOString() },
      ...(row.validation === null
        ? {}
        : {
            validation: {
              verdict: row.validation,
              results: (row.results ?? []) as { passed: boolean; message: string; severity: string }[],
            },
          }),
    }
  )
}

const isWhole = (report: Partial<GateReport>): report is GateReport =>
  Array.isArray(report.metrics) && Array.isArray(report.slices) && report.policy !== undefined

export interface ShownVerdict {
  id: number
  at: string
  stage: ReleaseStage
  stageIndex: number
  kind: VerdictKind
  reasons: Reason[]
  statistics: Record<string, number | null>
}

/** Of all verdicts of a release the first and the last of each stage, and others at even distances; the oldest first. */
export async function sampleVerdicts(
  database: Database,
  { release, most }: { release: string; most: number },
): Promise<ShownVerdict[]> {
  const rows = await database.query<Omit<ShownVerdict, 'at'> & { at: Date }>(sql`
    with numbered as (
      select id, row_number() over (order by id) as place, count(*) over () as total,
        lag(stage || stage_index) over (order by id) is distinct from stage || stage_index as first,
        lead(stage || stage_index) over (order by id) is distinct from stage || stage_index as last
      from decisions where release_id = ${release}
    )
    select decisions.id, at, stage, stage_index as "stageIndex", kind, reasons, statistics
    from decisions join numbered using (id)
    where first or last or place % greatest(1, ceil(total::float8 / ${most}::int)::int) = 0
    order by decisions.id limit ${2 * most}`)
  return rows.map(({ at, ...row }) => ({ ...row, id: Number(row.id), at: at.toISOString() }))
}

export interface ShownCommand extends Omit<ReleaseCommand, 'id' | 'releaseId'> {
  at: string
}

/** The newest first. */
export async function recentCommands(
  database: Database,
  { release, limit }: { release: string; limit: number },
): Promise<ShownCommand[]> {
  const rows = await database.query<
    Omit<ShownCommand, 'at' | 'reason'> & { at: Date; reason: string | null }
  >(sql`
    select command, actor, reason, accepted, message, stage, at
    from release_commands where release_id = ${release} order by at desc, id limit ${limit}`)
  return rows.map(({ reason, at, ...row }) => ({
    ...row,
    at: at.toISOString(),
    ...(reason === null ? {} : { reason }),
  }))
}

/** What one version was asked in one generation of the routing, for one release. */
export interface ArmTotal {
  generation: number
  version: string
  arm: 'canary' | 'champion' | 'control' | 'shadow'
  requests: number
  errors: number
  invalid: number
  slow: number
}

/** A generation has a few arms, and a release a few dozen generations. */
export async function sumArms(
  database: Database,
  { model, release }: { model: string; release: string },
): Promise<ArmTotal[]> {
  return database.query<ArmTotal>(sql`
    select generation, version, arm, sum(requests)::float8 as requests, sum(errors)::float8 as errors,
      sum(invalid)::float8 as invalid, sum(slow95)::float8 as slow
    from tick_counters where model = ${model} and release_id = ${release}
    group by 1, 2, 3 order by 1, 2, 3 limit 500`)
}

export interface ShownDrift {
  version: string
  level: DriftLevel
  toAt: string
  report: DriftReport
}

/** The last judgement of what each of these versions was asked. */
export async function lastDrift(
  database: Database,
  { model, versions }: { model: string; versions: readonly string[] },
): Promise<ShownDrift[]> {
  const rows = await database.query<Omit<ShownDrift, 'toAt'> & { to: Date }>(sql`
    select asked.version, drift.level, drift.to_at as to, drift.report
    from unnest(${versions}::text[]) as asked (version), lateral (
      select level, to_at, report from drift_judgements
      where model = ${model} and version = asked.version and subject = 'served' order by from_at desc, to_at desc limit 1
    ) as drift`)
  return rows.map(({ to, ...row }) => ({ ...row, toAt: to.toISOString() }))
}

/** How long a stage has been watched, without the time in which it was paused. */
export interface StageWatch {
  stage: ReleaseStage
  stageIndex: number
  watchedMs: number
}

export async function listWatches(database: Database, release: string): Promise<StageWatch[]> {
  return database.query<StageWatch>(sql`
    select stage, stage_index as "stageIndex", watched_ms as "watchedMs" from stage_clocks where release_id = ${release} limit 200`)
}
