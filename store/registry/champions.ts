/**
 * Stores the champion of each model and its history. One row per model allows no second champion; the trigger `champions_enqueue_change`
 * reports each change to MLflow.
 */
import sql, { raw, type Sql } from 'sql-template-tag'
import type { Manifest } from '../../domain/model/manifest.ts'
import { schemaIssues } from '../../domain/registry/schema-compatibility.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { ReleaseDigests, Statement } from '../../domain/release/state.ts'
import type { VerdictKind } from '../../domain/verdict.ts'

export interface Champion {
  model: string
  version: string
  releaseId?: string
  /** ISO 8601. */
  since: string
}

export interface ChampionChange {
  model: string
  version: string
  previousVersion?: string
  releaseId?: string
  cause: 'promotion' | 'rollback'
  actor: string
  reason: string
  at: string
}

const changeColumns = sql`model, version, previous_version, release_id, cause, actor, reason, at`

export async function findChampion(database: Database, model: string): Promise<Champion | undefined> {
  const [row] = await database.query(
    sql`select version, release_id, since from champions where model = ${model}`,
  )
  return row && { model, ...fromRow<Omit<Champion, 'model'>>(row) }
}

export const listChampions = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<Champion>(
    sql`select model, version, release_id, since from champions where model = any(${models})`,
  )

/** The champion, locked against changes until the end of the transaction. */
export async function lockChampion(database: Database, model: string): Promise<Champion | undefined> {
  const [row] = await database.query(
    sql`select version, release_id, since from champions where model = ${model} for update`,
  )
  return row && { model, ...fromRow<Omit<Champion, 'model'>>(row) }
}

export interface ChampionMove extends Omit<ChampionChange, 'version' | 'previousVersion' | 'at'> {
  /** The version that must be champion for the move; absent when the model must have no champion. */
  from?: string
  to: string
}

/** Changes the champion and writes the history. False, without a change, when `from` is not champion. */
export async function moveChampion(database: Database, move: ChampionMove): Promise<boolean> {
  const { model, from, to, releaseId, cause, actor, reason } = move
  const moved = await database.query(
    from === undefined
      ? sql`insert into champions (model, version, release_id, since)
          values (${model}, ${to}, ${releaseId ?? null}, clock_timestamp())
          on conflict (model) do nothing returning model`
      : sql`update champions set version = ${to}, release_id = ${releaseId ?? null}, since = clock_timestamp()
          where model = ${model} and version = ${from} returning model`,
  )
  if (moved.length === 0) return false
  await database.query(sql`
    insert into champion_history (model, version, previous_version, release_id, cause, actor, reason, at)
    values (${model}, ${to}, ${from ?? null}, ${releaseId ?? null}, ${cause}, ${actor}, ${reason}, clock_timestamp())`)
  return true
}

/** The newest change first. */
export const listChampionHistory = (database: Database, model: string, limit = 100) =>
  rowsFrom(database).list<ChampionChange>(
    sql`select ${changeColumns} from champion_history where model = ${model} order by id desc limit ${limit}`,
  )

/** The change by which a release promoted its candidate; undefined when it has not. */
/** The rollback that withdrew a former champion. */
export type Withdrawal = Pick<ChampionChange, 'version' | 'reason' | 'at'>

/** The rollbacks that withdrew these versions after they had become champion, by version. */
export async function findWithdrawals(
  database: Database,
  versions: readonly string[],
): Promise<ReadonlyMap<string, Withdrawal>> {
  const rows = await rowsFrom(database).list<Withdrawal>(sql`
    select distinct on (versions.version) versions.version, change.reason, change.at
    from versions join champion_history as change
      on change.model = versions.model and change.previous_version = versions.version and change.cause = 'rollback'
    where versions.version = any(${[...versions]}::text[]) and rolled_back_at is not null
    order by versions.version, change.id desc`)
  return new Map(rows.map((each) => [each.version, each]))
}

/**
 * The version that a rollback took from callers in the last ten minutes: a champion, or the candidate of a release that has ended since.
 * Undefined when there was no such rollback, or when a version was promoted since.
 */
export const findRecentRollback = (database: Database, model: string) =>
  rowsFrom(database).value<string>(sql`
    select version from (
      select * from (
        (select previous_version as version, cause, at from champion_history
          where model = ${model} order by id desc limit 1)
        union all
        (select version, 'rollback', rolled_back_at from releases
          where model = ${model} and outcome in ('rolled_back', 'aborted', 'failed') and state ->> 'drill' is null
            and rolled_back_at > clock_timestamp() - interval '10 minutes'
            and jsonb_path_exists(state, '$.routings[*].stage ? (@ == "targeted" || @ == "canary")')
          order by rolled_back_at desc limit 1)
      ) as changes
      order by at desc limit 1
    ) as newest
    where cause = 'rollback' and at > clock_timestamp() - interval '10 minutes'`)

/** A version that a rollback could return to. */
export interface RollbackTarget {
  version: string
  artifactDigest: string
  /** Why callers could not use it now; empty when they could. */
  issues: string[]
}

/**
 * All earlier champions that are proven, were never rolled back and still have their files. The parent of a compressed version comes first,
 * because it gives the same answers; then the last one.
 */
export async function listRollbackTargets(
  database: Database,
  { model, from }: { model: string; from: string },
): Promise<RollbackTarget[]> {
  const rows = await rowsFrom(database).list<{
    version: string
    artifactDigest: string
    schema: Schema
    now?: Schema
  }>(sql`
    select versions.version, versions.artifact_digest, ${schemaJson} as schema,
      (select ${schemaJson} from versions where version = ${from}) as now
    from versions join (
      select version, max(id) as last from champion_history where model = ${model} group by version
    ) as served using (version)
    where versions.version <> ${from} and known_good_at is not null and rolled_back_at is null
      and not exists (select from deleted_artifacts where digest = versions.artifact_digest)
    order by versions.version = (select lineage #>> '{compression,version}' from versions where version = ${from}) desc nulls last,
      last desc limit 20`)
  return rows.map(({ schema, now = {}, ...target }) => ({
    ...target,
    issues: schemaIssues(known(now), known(schema)),
  }))
}

/** The first target without an issue, and those before it with their issues. */
export function chooseRollbackTarget(
  { model, from }: { model: string; from: string },
  targets: readonly { version: string; issues: readonly string[] }[],
  unfit: ReadonlyMap<string, string>,
): { to?: string; passedOver: string[]; refusal?: string } {
  const passedOver: string[] = []
  for (const { version, issues } of targets) {
    const broken = unfit.get(version)
    const all = broken === undefined ? issues : [...issues, broken]
    if (all.length === 0) return { to: version, passedOver }
    passedOver.push(`${version}: ${all.join(', ')}`)
  }
  const refusal =
    passedOver.length === 0
      ? `${from} is the only known good version of ${model}, so no rollback target exists`
      : `no known good version of ${model} can serve now: ${passedOver.join('; ')}`
  return { passedOver, refusal }
}

/** Why callers of one version could not use another, whether or not it is a target; empty when they could. */
export async function findIncompatibilities(
  database: Database,
  { from, to }: { from: string; to: string },
): Promise<string[]> {
  const rows = await database.query<{ version: string; schema: Schema }>(
    sql`select version, ${schemaJson} as schema from versions where version = any(${[from, to]}::text[])`,
  )
  const schemaOf = (name: string) => known(rows.find(({ version }) => version === name)?.schema ?? {})
  return schemaIssues(schemaOf(from), schemaOf(to))
}

const schemaJson = sql`jsonb_build_object('features', versions.manifest -> 'features', 'output', versions.manifest -> 'output')`

type Schema = { features?: Manifest['features'] | null; output?: Manifest['output'] | null }

const known = ({ features, output }: Schema): Partial<Pick<Manifest, 'features' | 'output'>> => ({
  ...(features ? { features } : {}),
  ...(output ? { output } : {}),
})

/**
 * The version that a rollback returns to: the first rollback target that is compatible with present requests.
 */
export async function findRollbackTarget(
  database: Database,
  subject: { model: string; from: string },
): Promise<string | undefined> {
  const targets = await listRollbackTargets(database, subject)
  return targets.find(({ issues }) => issues.length === 0)?.version
}

/** Marks a version as a rollback target. */
export async function markKnownGood(database: Database, version: string): Promise<void> {
  await database.query(sql`
    update versions set known_good_at = coalesce(known_good_at, clock_timestamp()), rolled_back_at = null
    where version = ${version}`)
}

export async function isRolledBack(
  database: Database,
  { model, version }: { model: string; version: string },
): Promise<boolean> {
  const rows = await database.query(sql`
    select from versions where model = ${model} and version = ${version} and rolled_back_at is not null`)
  return rows.length > 0
}

/** Excludes the version from later rollback targets. */
export async function markVersionRolledBack(database: Database, version: string): Promise<void> {
  await database.query(sql`
    update versions set rolled_back_at = coalesce(rolled_back_at, clock_timestamp()) where version = ${version}`)
}

// Reads the champion of a model at a given time with its release, evaluation, verdicts, approvals and audit row.

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
const releaseJson = (alias: 'releases' | 'earned'): Sql => {
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
      ${releaseJson('releases')} as release, ${releaseJson('earned')} as earned_by,
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
