/**
 * Stores releases with the last state that the workflow recorded, so that reading a release needs no Temporal, and the rollback order,
 * which no late step can bypass. The triggers `releases_enqueue_*` report start and end to the integrations.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { factNames, factsOf, type OpenedFacts } from '../../domain/release/facts.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type {
  CommandName,
  ReleaseOutcomeKind,
  ReleaseStage,
  ReleaseState,
  ReleaseBasis,
} from '../../domain/release/state.ts'
import * as schema from '../../domain/schema.ts'
import { ofModels, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'
import { type SignedCommand, verifyCommand } from '../signing/command-signatures.ts'
import { findChampion, findPromotion } from '../registry/champions.ts'
import type { ReleaseRecord, SignedStatement, StageVerdicts } from '../../domain/release/permission.ts'
import type { Role } from '../../domain/roles.ts'
import type { Verifier } from '../signing/signing-key.ts'

export interface Release {
  state: ReleaseState
  workflowId: string
  runId: string
  startedAt: string
  updatedAt: string
  rolledBackAt?: string
  outcome?: ReleaseOutcomeKind
  reason?: string
  endedAt?: string
}

const columns = sql`state, workflow_id, run_id, outcome, reason, started_at, updated_at, rolled_back_at, ended_at`

/** The basis of a release: the version with its evidence, and the policy of its model. */
interface Releasable {
  version: string
  model: string
  artifactDigest: string
  evaluationDigest: string
  /** The champion that it was evaluated against. */
  evaluatedAgainst: string | null
  withdrawn: boolean
  /** Whether a release of it has ended as promoted. */
  proven: boolean
  /** Made for a drill. */
  drill: boolean
  policy: ReleasePolicy
}

export async function findReleasable(database: Database, version: string): Promise<Releasable | undefined> {
  const [row] = await database.query<Releasable>(sql`
    select versions.version, versions.model, versions.artifact_digest as "artifactDigest",
      evaluations.report_digest as "evaluationDigest", evaluations.baseline_version as "evaluatedAgainst",
      versions.rolled_back_at is not null as withdrawn, known_good_at is not null as proven, versions.drill, models.definition -> 'release' as policy
    from versions join evaluations on evaluations.id = versions.evaluation_id
      join models on models.name = versions.model
    where versions.version = ${version}`)
  return row
}

/** Opens a release. The same run may repeat it; another open release of the model throws `release_in_progress`. */
export async function insertRelease(
  database: Database,
  release: { state: ReleaseState; workflowId: string; runId: string },
): Promise<void> {
  const { state, workflowId, runId } = release
  const { id, model, version, baseline, strategy, policy, digests, requestedBy, stage } = state
  const [open] = await database.query<{ id: string }>(sql`
    insert into releases (id, model, version, baseline_version, strategy, policy, policy_digest, evaluation_digest,
      artifact_digest, requested_by, workflow_id, run_id, stage, state, facts)
    values (${id}, ${model}, ${version}, ${baseline ?? null}, ${strategy}, ${JSON.stringify(policy)},
      ${digests.policy}, ${digests.evaluation}, ${digests.artifact}, ${requestedBy}, ${workflowId}, ${runId}, ${stage},
      ${JSON.stringify(state)}, ${JSON.stringify(factsOf(state))})
    on conflict do nothing returning id`)
  if (open) return
  const [other] = await database.query<{ id: string }>(
    sql`select id from releases where model = ${model} and ended_at is null`,
  )
  if (other?.id !== id)
    throw new DomainError('release_in_progress', `${other?.id ?? id} of ${model} has not ended`, { model })
}

/** The state that a workflow reports, with the facts recorded at the opening. */
const stored = (state: ReleaseState) => sql`(${JSON.stringify(state)}::jsonb - ${factNames}::text[]) || facts`

/** The stages in which a release neither routes nor promotes any more. */
const endingStages = sql`('rolling_back', 'ended')`

/**
 * Overwrites an older state with a newer one. A late writer with an old state changes nothing. A workflow that was reset counts revisions
 * from an earlier one, so an order to end the release outranks every state before it.
 */
export async function saveRelease(database: Database, state: ReleaseState): Promise<void> {
  const { id, stage, stageIndex, shareBp, paused, revision, digests } = state
  await database.query(sql`
    update releases set stage = ${stage}, stage_index = ${stageIndex}, share_bp = ${shareBp}, paused = ${paused},
      evaluation_digest = ${digests.evaluation}, state = ${stored(state)}, updated_at = clock_timestamp()
    where id = ${id} and ended_at is null
      and (stage in ${endingStages}, (state ->> 'revision')::bigint) < (${stage} in ${endingStages}, ${revision}::bigint)`)
}

/** Records the end. False when it was already recorded. */
export async function closeRelease(database: Database, state: ReleaseState): Promise<boolean> {
  const { id, stageIndex, shareBp, outcome, reason } = state
  return rowsFrom(database).any(sql`
    update releases set stage = 'ended', stage_index = ${stageIndex}, share_bp = ${shareBp}, paused = false,
      state = ${stored({ ...state, closed: true })}, outcome = ${outcome ?? null}, reason = ${reason ?? null},
      updated_at = clock_timestamp(), ended_at = clock_timestamp()
    where id = ${id} and ended_at is null returning id`)
}

/**
 * Reads whether a release may still route and promote its candidate, and locks its row until the transaction ends. An accepted abort
 * stores its stage before the rollback sets `rolled_back_at` or the end sets `ended_at`; a promotion in between must not succeed.
 */
export async function lockRelease(
  database: Database,
  id: string,
): Promise<'open' | 'ending' | 'ended' | 'absent'> {
  const [row] = await database.query<{ ending: boolean; ended: boolean }>(sql`
    select rolled_back_at is not null or stage in ${endingStages} as ending, ended_at is not null as ended
    from releases where id = ${id} for update`)
  if (!row) return 'absent'
  return row.ended ? 'ended' : row.ending ? 'ending' : 'open'
}

/** Permanently prevents routing and promotion by this release. */
export async function markRolledBack(database: Database, id: string): Promise<void> {
  await database.query(sql`
    update releases set rolled_back_at = coalesce(rolled_back_at, clock_timestamp()) where id = ${id}`)
}

export const findRelease = (database: Database, id: string) =>
  rowsFrom(database).find<Release>(prepared`select ${columns} from releases where id = ${id}`)

export const findOpenRelease = (database: Database, model: string) =>
  rowsFrom(database).find<Release>(
    sql`select ${columns} from releases where model = ${model} and ended_at is null`,
  )

/** The releases that await approval against a version that is champion no more. */
export const listUnfounded = (database: Database) =>
  rowsFrom(database).list<{
    id: string
    version: string
    champion?: string
    workflowId: string
    runId: string
  }>(sql`
    select id, releases.version, champions.version as champion, workflow_id, run_id
    from releases left join champions using (model)
    where ended_at is null and state ->> 'stage' = 'awaiting_approval'
      and state ->> 'baseline' is distinct from champions.version limit 1000`)

/** The open releases of these models. */
export const listOpenReleaseIds = (database: Database, models: readonly string[]) =>
  rowsFrom(database).list<{ model: string; id: string }>(
    sql`select model, id from releases where model = any(${models}) and ended_at is null`,
  )

export interface ReleaseFilter extends ModelFilter {
  open?: boolean
  limit?: number
}

/** The newest first. */
export async function listReleases(database: Database, filter: ReleaseFilter = {}): Promise<Release[]> {
  const { open = null, limit = 50 } = filter
  return rowsFrom(database).list<Release>(sql`
    select ${columns} from releases
    where ${ofModels(filter)} and (${open}::boolean is null or (ended_at is null) = ${open})
    order by started_at desc, id desc limit ${limit}`)
}

/** The newest first. */
export const listReleasesOfVersion = (database: Database, version: string) =>
  rowsFrom(database).list<Release>(
    sql`select ${columns} from releases where version = ${version} order by started_at desc, id desc limit 20`,
  )

/** A command to a release and its result. */
export const releaseCommand = schema.record(
  {
    id: schema.text,
    releaseId: schema.text,
    command: schema.textOf<CommandName>(),
    actor: schema.text,
    accepted: schema.flag,
    message: schema.text,
    stage: schema.textOf<ReleaseStage>(),
  },
  { reason: schema.text },
)
export interface ReleaseCommand extends schema.TypeOf<typeof releaseCommand> {
  /** The command as its sender signed it; absent without a signature. */
  sent?: Omit<SignedCommand, 'command' | 'model' | 'release'> & { signature: string }
}

/** Records a command once. False when this id is already recorded. */
export async function insertCommand(database: Database, command: ReleaseCommand): Promise<boolean> {
  const { id, releaseId, actor, reason, accepted, message, stage, sent } = command
  return rowsFrom(database).any(sql`
    insert into release_commands (id, release_id, command, actor, reason, accepted, message, stage, sent, at)
    values (${id}, ${releaseId}, ${command.command}, ${actor}, ${reason ?? null}, ${accepted}, ${message}, ${stage},
      ${sent === undefined ? null : JSON.stringify(sent)}, clock_timestamp())
    on conflict (id) do nothing returning id`)
}

/** The recorded results of commands of a release, by command id. */
export async function findAnswers(
  database: Database,
  { release, ids }: { release: string; ids: readonly string[] },
): Promise<Map<string, Pick<ReleaseCommand, 'accepted' | 'stage' | 'message'>>> {
  const rows = await database.query<Pick<ReleaseCommand, 'id' | 'accepted' | 'stage' | 'message'>>(sql`
    select id, accepted, stage, message from release_commands where id = any(${ids.map((id) => `${release}/${id}`)}::text[])`)
  return new Map(rows.map(({ id, ...answer }) => [id.slice(release.length + 1), answer]))
}

/** The newest commands of a release, or those before the id `before`, in order of arrival. */
export const listCommands = (
  database: Database,
  releaseId: string,
  { limit = 1_000, before }: { limit?: number; before?: string } = {},
): Promise<(ReleaseCommand & { at: string })[]> =>
  rowsFrom(database).list<ReleaseCommand & { at: string }>(sql`
    select * from (
      select id, release_id, command, actor, reason, accepted, message, stage, at
      from release_commands
      where release_id = ${releaseId}
        and (${before ?? null}::text is null
          or (at, id) < (select at, id from release_commands where id = ${before ?? null}))
      order by at desc, id desc limit ${limit}
    ) as page order by at, id`)

/** The key of the alert about a release that could not open. */
export const refusalKeyOf = (release: string): string => `release-start/${release}`

/** Why a release could not open, from its open alert, because a refused release has no row; undefined for any other. */
export const findOpeningRefusal = (database: Database, { id, version }: { id: string; version: string }) =>
  rowsFrom(database).value<string>(sql`
    select coalesce(evidence ->> 'reason', message) from alerts
    where dedupe_key = ${refusalKeyOf(id)} and evidence ->> 'version' = ${version} and resolved_at is null`)

/** Reads the current basis of a release: the champion of the model, and the digests and the evaluation of the version. */
export async function findReleaseBasis(
  database: Database,
  { model, version }: { model: string; version: string },
): Promise<ReleaseBasis> {
  const champion = await findChampion(database, model)
  return releaseBasisOf(await findReleasable(database, version), champion?.version)
}

export const releaseBasisOf = (
  candidate: Releasable | undefined,
  champion: string | undefined,
): ReleaseBasis => ({
  champion,
  withdrawn: candidate?.withdrawn ?? false,
  artifact: candidate?.artifactDigest,
  evaluation: candidate?.evaluationDigest,
  evaluatedAgainst: candidate?.evaluatedAgainst ?? undefined,
})

// Reads what permits the steps of a release: how it was opened, the signed commands, and the verdicts. Activities wrote each of these from
// their own observation; none comes from a workflow.

/** Undefined without a row. */
export async function findReleaseRecord(
  database: Database,
  verifier: Verifier,
  id: string,
): Promise<ReleaseRecord | undefined> {
  const opened = await rowsFrom(database).find<{
    facts: OpenedFacts
    artifactDigest: string
    policyDigest: string
    rolledBack: boolean
  }>(sql`
    select facts, artifact_digest, policy_digest, rolled_back_at is not null as rolled_back
    from releases where id = ${id}`)
  if (opened === undefined) return undefined
  const { facts, artifactDigest: artifact, policyDigest: policy, rolledBack } = opened
  return {
    facts,
    digests: { artifact, policy },
    statements: await listStatements(database, verifier, facts),
    verdicts: await listStageVerdicts(database, id),
    promoted: (await findPromotion(database, id)) !== undefined,
    rolledBack,
  }
}

interface SentRow {
  command: SignedCommand['command']
  sent: Omit<SignedCommand, 'command' | 'model' | 'release'> & { signature: string }
  atMs: number
  key: string
  name: string
  role: Role
  models?: string[]
  isActive: boolean
}

async function listStatements(
  database: Database,
  verifier: Verifier,
  { id: release, model }: OpenedFacts,
): Promise<SignedStatement[]> {
  const rows = await rowsFrom(database).list<SentRow>(sql`
    select command, sent, (extract(epoch from at) * 1000)::float8 as at_ms, api_keys.id as key, name, role, models,
      coalesce(revoked_at > at, true) and coalesce(expires_at > at, true) as is_active
    from release_commands join api_keys on api_keys.id = split_part(sent ->> 'signature', '.', 1)
    where release_id = ${release} and accepted order by at, release_commands.id`)
  return rows.flatMap(({ command, sent, atMs, key, name, role, models, isActive }) => {
    const { signature, ...statement } = sent
    const keyId = verifyCommand(
      verifier,
      { ...statement, command, model, release },
      { signature, nowMs: atMs },
    )
    if (keyId !== key || name !== statement.by) return []
    const {
      by,
      reason,
      artifactDigest: artifact,
      evaluationDigest: evaluation,
      policyDigest: policy,
    } = statement
    return [
      {
        command,
        by,
        key,
        role,
        reason,
        atMs,
        isValid: isActive && (models === undefined || models.includes(model)),
        seen: { artifact, evaluation, policy },
        untilMs: statement.until === undefined ? undefined : Date.parse(statement.until),
      },
    ]
  })
}

const listStageVerdicts = (database: Database, releaseId: string): Promise<StageVerdicts[]> =>
  rowsFrom(database).list<StageVerdicts>(sql`
    select stage, stage_index, bool_or(kind = 'pass') as passed, max(id)::float8 as last,
      (extract(epoch from min(at)) * 1000)::float8 as first_ms
    from decisions where release_id = ${releaseId} group by stage, stage_index`)
