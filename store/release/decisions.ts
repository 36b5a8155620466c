/**
 * Stores every verdict of a release with its inputs, and the clock of each stage, which must survive the worker that watches the stage.
 */
import sql, { raw } from 'sql-template-tag'
import type { LookRecord } from '../../domain/release/judge-stage.ts'
import type { UnansweredCommand } from '../../domain/release/explain.ts'
import type { ReleaseStage, ReleaseState } from '../../domain/release/state.ts'
import type { Verdict } from '../../domain/verdict.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

export interface Decision {
  releaseId: string
  stage: ReleaseStage
  stageIndex: number
  verdict: Verdict
  /** The input of the judge, as counts. */
  inputs: Record<string, unknown>
  policyDigest: string
  /** All that the verdict follows from; absent for a verdict that has not ended a watch. */
  evidence?: LookRecord
}

export async function insertDecision(database: Database, decision: Decision): Promise<number> {
  const { releaseId, stage, stageIndex, verdict, inputs, policyDigest, evidence } = decision
  const found = await rowsFrom(database).value<number>(prepared`
    insert into decisions (release_id, stage, stage_index, kind, reasons, statistics, inputs, judge, policy_digest, evidence, at)
    values (${releaseId}, ${stage}, ${stageIndex}, ${verdict.kind}, ${JSON.stringify(verdict.reasons)},
      ${JSON.stringify(verdict.statistics)}, ${JSON.stringify(inputs)}, ${verdict.judge}, ${policyDigest},
      ${evidence === undefined ? null : JSON.stringify(evidence)}, clock_timestamp())
    returning id`)
  return found ?? 0
}

export type StoredDecision = Omit<Decision, 'evidence'> & { id: number; at: string }

/** Without the evidence, which is large. */
const decisionColumns = raw(
  [
    'id',
    'release_id',
    'stage',
    'stage_index',
    'kind',
    'reasons',
    'statistics',
    'inputs',
    'judge',
    'policy_digest',
    'at',
  ]
    .map((name) => `decisions.${name}`)
    .join(', '),
)

/** A row has the parts of the verdict beside those of the decision. */
const withVerdict = <Row extends Verdict>({ kind, reasons, statistics, judge, ...decision }: Row) => ({
  ...decision,
  verdict: { kind, reasons, statistics, judge },
})

/** Lists the decisions, newest first. */
export async function listDecisions(
  database: Database,
  releaseId: string,
  limit = 100,
): Promise<StoredDecision[]> {
  const rows = await rowsFrom(database).list<Omit<StoredDecision, 'verdict'> & Verdict>(
    sql`select ${decisionColumns} from decisions where release_id = ${releaseId} order by id desc limit ${limit}`,
  )
  return rows.map(withVerdict)
}

/** The last decision of an ended release, with its final state. */
export type TerminalDecision = StoredDecision & { state: ReleaseState }

/** Returns the last decisions of the last releases, newest first. */
export async function findTerminalDecisions(database: Database, limit: number): Promise<TerminalDecision[]> {
  const rows = await rowsFrom(database).list<Omit<TerminalDecision, 'verdict'> & Verdict>(sql`
    select ${decisionColumns}, releases.state from releases
      join lateral (select * from decisions where release_id = releases.id order by id desc limit 1) as decisions on true
    where releases.ended_at is not null order by releases.ended_at desc limit ${limit}`)
  return rows.map(withVerdict)
}

/**
 * Returns the newest verdict against the candidate. The verdict binds the release even if the report of the watch was lost: a command that
 * arrives with the verdict cancels the watch, and a later observation may judge differently.
 */
export const findFailVerdict = (database: Database, releaseId: string): Promise<Verdict | undefined> =>
  rowsFrom(database).find<Verdict>(
    prepared`select kind, reasons, statistics, judge from decisions
      where release_id = ${releaseId} and kind = 'fail' order by id desc limit 1`,
  )

/**
 * The newest verdict of the running stage of each open release, how long the stage has been observed, and the first command without an answer,
 * by release.
 */
export async function findRunning(
  database: Database,
  releases: readonly string[],
): Promise<ReadonlyMap<string, RunningRelease>> {
  const rows = await rowsFrom(database).list<RunningRelease & { id: string }>(sql`
    select releases.id, newest.kind, newest.reasons, coalesce(watched_ms, 0) as watched_ms, unanswered
    from releases left join lateral (
      select jsonb_build_object('command', kind, 'actor', actor, 'at', at) as unanswered from commands
      where release_id = releases.id and answered_at is null order by position limit 1) as first on true
    left join lateral (
      select kind, reasons from decisions where release_id = releases.id and stage = releases.state ->> 'stage'
        and stage_index = (releases.state ->> 'stageIndex')::int order by id desc limit 1) as newest on true
      left join stage_clocks as clock on clock.release_id = releases.id and clock.stage = releases.state ->> 'stage'
        and clock.stage_index = (releases.state ->> 'stageIndex')::int
    where releases.id = any(${releases}::text[]) and ended_at is null`)
  return new Map(rows.map(({ id, ...each }) => [id, each]))
}

export interface RunningRelease extends Partial<Pick<Verdict, 'kind' | 'reasons'>> {
  watchedMs: number
  unanswered?: UnansweredCommand
}

export interface StageObservation {
  releaseId: string
  stage: ReleaseStage
  stageIndex: number
  /** Whether a user has paused the clock of the stage. */
  paused: boolean
  /** The maximum time that one observation adds: in a longer gap the stage was not observed. */
  maxGapMs: number
}

interface StageTimes {
  /** How long the stage has been observed in total, in ms. */
  watchedMs: number
  /** The time of the last observation, on the database's clock. */
  observedMs: number
}

export async function recordObservation(database: Database, look: StageObservation): Promise<StageTimes> {
  const { releaseId, stage, stageIndex, paused, maxGapMs } = look
  const counted = await rowsFrom(database).find<StageTimes>(prepared`
    insert into stage_clocks (release_id, stage, stage_index, paused, observed_at)
    values (${releaseId}, ${stage}, ${stageIndex}, ${paused}, clock_timestamp())
    on conflict (release_id, stage, stage_index) do update set
      watched_ms = stage_clocks.watched_ms + case when stage_clocks.paused or excluded.paused then 0
        else greatest(0, least((extract(epoch from excluded.observed_at - stage_clocks.observed_at) * 1000)::float8, ${maxGapMs})) end,
      paused = excluded.paused,
      observed_at = excluded.observed_at
    where excluded.observed_at >= stage_clocks.observed_at or stage_clocks.observed_at > clock_timestamp()
    returning watched_ms, (extract(epoch from observed_at) * 1000)::float8 as observed_ms`)
  if (counted) return counted
  // If two watchers ran at the same time, the later observation of the other one counts.
  const stored = await rowsFrom(database).find<StageTimes>(sql`
    select watched_ms, (extract(epoch from observed_at) * 1000)::float8 as observed_ms from stage_clocks
    where release_id = ${releaseId} and stage = ${stage} and stage_index = ${stageIndex}`)
  return stored ?? { watchedMs: 0, observedMs: 0 }
}

/** The verdicts that have ended the watches of a release, oldest first, each with all that it follows from. */
export async function listEndingDecisions(
  database: Database,
  releaseId: string,
): Promise<(StoredDecision & { evidence: LookRecord })[]> {
  const rows = await rowsFrom(database).list<
    Omit<StoredDecision, 'verdict'> & Verdict & { evidence: LookRecord }
  >(sql`
    select ${decisionColumns}, evidence from decisions
    where release_id = ${releaseId} and evidence is not null order by id`)
  return rows.map(withVerdict)
}
