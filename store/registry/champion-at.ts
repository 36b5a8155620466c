/** Reads the champion of a model at a given time with its release, evaluation, verdicts, approvals and audit row. */
import sql, { raw, type Sql } from 'sql-template-tag'
import type { ReleaseDigests, Statement } from '../../domain/release/state.ts'
import type { VerdictKind } from '../../domain/verdict.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { ChampionChange } from './champions.ts'

export interface LiveAt extends Omit<ChampionChange, 'releaseId' | 'at'> {
  /** ISO 8601, as all times here. */
  since: string
  /** The time at which another version became champion; absent for the present champion. */
  until?: string
  artifactDigest: string
  /** The release that made it champion, or whose rollback returned to it; absent for a rollback outside a release. */
  release?: LiveRelease
  /** For a version that a rollback returned to: the release that had made it champion before, with its approvers. */
  earnedBy?: LiveRelease
  /** The gate evaluation of the version. */
  evaluation?: { id: string; verdict: string; digest: string; against?: string }
  /** The verdicts of the release until the change, the newest first. */
  decisions: { id: number; at: string; stage: string; kind: VerdictKind; judge: string; reasons: unknown[] }[]
  /** The audit row of the change. */
  audit?: { seq: number; at: string; actor: string; action: string; hash: string }
}

export interface LiveRelease {
  id: string
  version: string
  strategy: string
  requestedBy: string
  digests: ReleaseDigests
  outcome?: string
  approvals: Statement[]
  voided: Statement[]
  denials: Statement[]
  breakGlass?: Statement
}

/** A row of `releases`, under its alias, as a LiveRelease; null without one. */
const told = (alias: 'releases' | 'earned'): Sql => {
  const each = (column: string) => raw(`${alias}.${column}`)
  return sql`case when ${each('id')} is not null then jsonb_build_object(
    'id', ${each('id')}, 'version', ${each('version')}, 'strategy', ${each('strategy')},
    'requestedBy', ${each('requested_by')}, 'digests', ${each('state')} -> 'digests', 'outcome', ${each('outcome')},
    'approvals', ${each('state')} -> 'approvals', 'voided', coalesce(${each('state')} -> 'voidedApprovals', '[]'),
    'denials', ${each('state')} -> 'rejections', 'breakGlass', ${each('state')} -> 'breakGlass') end`
}

/** The maximum number of verdicts returned. */
const maxDecisions = 50

/** One statement, so that all facts are from one moment. */
export async function findLiveAt(
  database: Database,
  { model, at }: { model: string; at: string },
): Promise<LiveAt | undefined> {
  const found = await rowsFrom(database).find<LiveAt>(sql`
    select change.model, change.version, change.previous_version, change.cause, change.actor, change.reason, change.at as since,
      (select min(later.at) from champion_history as later where later.model = change.model and later.id > change.id) as until,
      versions.artifact_digest,
      ${told('releases')} as release, ${told('earned')} as earned_by,
      jsonb_build_object('id', evaluations.id, 'verdict', evaluations.verdict, 'digest', evaluations.report_digest,
        'against', evaluations.baseline_version) as evaluation,
      (select coalesce(jsonb_agg(told order by told.id desc), '[]') from (
        select decisions.id, to_char(decisions.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, stage, kind,
          judge, reasons
        from decisions where decisions.release_id = change.release_id and decisions.at <= change.at
        order by decisions.id desc limit ${maxDecisions}) as told) as decisions,
      told.audit
    from champion_history as change
      join versions on versions.version = change.version
      join evaluations on evaluations.id = versions.evaluation_id
      left join releases on releases.id = change.release_id
      left join releases as earned on change.cause = 'rollback' and earned.id = (
        select before.release_id from champion_history as before
        where before.model = change.model and before.version = change.version and before.cause = 'promotion'
          and before.id < change.id order by before.id desc limit 1)
      left join lateral (
        -- Written in the transaction of the change, right after it; its time is kept to the millisecond.
        select jsonb_build_object('seq', seq, 'at', to_char(audit.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'actor', audit.actor, 'action', action, 'hash', encode(hash, 'hex')) as audit
        from audit where audit.model = change.model and action in ('champion.promoted', 'champion.rolled_back')
          and audit.at >= date_trunc('milliseconds', change.at)
        order by seq limit 1) as told on true
    where change.model = ${model} and change.at <= ${at}
    order by change.id desc limit 1`)
  if (found === undefined) return undefined
  const { release, earnedBy, evaluation } = found
  return {
    ...found,
    release: release && fromRow(release),
    earnedBy: earnedBy && fromRow(earnedBy),
    evaluation: evaluation && fromRow(evaluation),
  }
}

/** The time since which a model has had a champion. */
export const findFirstChampion = (database: Database, model: string) =>
  rowsFrom(database).find<{ version: string; at: string }>(
    sql`select version, at from champion_history where model = ${model} order by id limit 1`,
  )
