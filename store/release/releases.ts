/**
 * Stores releases and advances them. The row is the state: a step or a command reads it under its lock, gives the reducer what has happened,
 * and writes it back, so that neither Temporal nor a late step can change what a release has decided, and one order of events holds for
 * steps, commands and restored backups. The triggers `releases_enqueue_*` report start and end to the integrations.
 */
import sql from 'sql-template-tag'
import { DomainError, isError } from '../../domain/errors.ts'
import { issueOfMaking } from '../../domain/registry/registration.ts'
import { basisIssues } from '../../domain/release/basis.ts'
import { commandOfAnother, isByBreakGlass, type VersionLineage } from '../../domain/registry/version.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import type { ReleaseOutcomeKind, ReleaseState, ReleaseBasis } from '../../domain/release/state.ts'
import type { RunIds } from '../../domain/training/runs.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database, Store } from '../postgres.ts'
import { findChampion, listChampionHistory } from '../registry/champions.ts'
import { readMaking } from '../training/runs.ts'
import { type CommandEvent, type StepEvent, advance } from '../../domain/release/reducer.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import { findActiveKeys } from '../access/api-keys.ts'
import { appendAudit, type Transaction } from '../audit/audit-log.ts'
import { readNow } from '../database/clock.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import { findRoutingPlace, firstEpoch } from '../serving/routing.ts'
import { answerCommand, hasUnanswered, listUnanswered, type ReleaseCommand } from '../commands.ts'

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
export interface Releasable extends Omit<RunIds, 'validationId'> {
  version: string
  model: string
  /** Absent, like the data that it was trained on, when no registration has written the version. */
  validationId?: string
  snapshotDigest?: string
  artifactDigest: string
  evaluationDigest: string
  /** The champion that it was evaluated against. */
  evaluatedAgainst?: string
  withdrawn: boolean
  /** Whether a release of it has ended as promoted. */
  proven: boolean
  /** Made for a drill. */
  drill: boolean
  /** How it was made; empty when no registration has written the version. */
  lineage: Partial<VersionLineage>
  /** That of the model. */
  policy: ReleasePolicy
}

export const findReleasable = (database: Database, version: string) =>
  rowsFrom(database).find<Releasable>(sql`
    select versions.version, versions.model, versions.artifact_digest, lineage ->> 'snapshot' as snapshot_digest,
      lineage ->> 'validationId' as validation_id, versions.training_id, versions.evaluation_id,
      evaluations.report_digest as evaluation_digest, evaluations.baseline_version as evaluated_against,
      versions.rolled_back_at is not null as withdrawn, known_good_at is not null as proven, versions.drill,
      versions.lineage, models.definition -> 'release' as policy
    from versions join evaluations on evaluations.id = versions.evaluation_id
      join models on models.name = versions.model
    where versions.version = ${version}`)

/**
 * Reads what a release of a version would begin with: the version and the champion; or why none can begin. One rule for the start of a
 * release, its opening and the page of the version.
 */
export async function findCandidate(
  database: Database,
  { model, version, isOfDrill = false }: { model: string; version: string; isOfDrill?: boolean },
): Promise<{ candidate: Releasable; champion?: string; issue?: undefined } | { issue: string }> {
  const candidate = await findReleasable(database, version)
  if (candidate?.model !== model) return { issue: `${model} has no version ${version}` }
  const { drill } = candidate
  if (drill !== isOfDrill)
    return {
      issue: drill
        ? `${version} was built for a drill and can only be released by it`
        : `${version} was not built for a drill`,
    }
  const champion = (await findChampion(database, model))?.version
  if (champion === version) return { issue: `${version} is already champion` }
  // The candidate of a drill is built from the present champion and shares its evaluation.
  const changed = basisIssues({ version, champion }, releaseBasisOf(candidate, champion)).find(
    ({ kind }) => kind !== 'comparison' || !drill,
  )
  const { lineage, artifactDigest: artifact, evaluationDigest: evaluation } = candidate
  const order = { isByBreakGlass: isByBreakGlass(lineage, { artifact, evaluation }) }
  const issue =
    changed?.message ?? (drill ? undefined : issueOfMaking(await readMaking(database, candidate), order))
  return issue === undefined ? { candidate, champion } : { issue }
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
      artifact_digest, requested_by, workflow_id, run_id, stage, state)
    values (${id}, ${model}, ${version}, ${baseline ?? null}, ${strategy}, ${JSON.stringify(policy)},
      ${digests.policy}, ${digests.evaluation}, ${digests.artifact}, ${requestedBy}, ${workflowId}, ${runId}, ${stage},
      ${JSON.stringify(state)})
    on conflict do nothing returning id`)
  if (open) return
  const [other] = await database.query<{ id: string }>(
    sql`select id from releases where model = ${model} and ended_at is null`,
  )
  if (other?.id !== id)
    throw new DomainError('release_in_progress', `${other?.id ?? id} of ${model} has not ended`, { model })
}

/** Locks the row of a release until the transaction ends, and reads it. */
export const lockRelease = (database: Database, id: string) =>
  rowsFrom(database).find<Release>(sql`select ${columns} from releases where id = ${id} for no key update`)

/** Stores the state of a release whose row is locked. */
export async function saveRelease(database: Database, state: ReleaseState): Promise<void> {
  const { id, stage, stageIndex, shareBp, paused, digests } = state
  await database.query(sql`
    update releases set stage = ${stage}, stage_index = ${stageIndex}, share_bp = ${shareBp}, paused = ${paused},
      evaluation_digest = ${digests.evaluation}, state = ${JSON.stringify(state)}, updated_at = clock_timestamp()
    where id = ${id} and ended_at is null`)
}

/** Records the end, with this last state. False when it was already recorded. */
export async function recordEnd(database: Database, state: ReleaseState): Promise<boolean> {
  const { id, stageIndex, shareBp, outcome, reason } = state
  return rowsFrom(database).any(sql`
    update releases set stage = 'ended', stage_index = ${stageIndex}, share_bp = ${shareBp}, paused = false,
      state = ${JSON.stringify(state)}, outcome = ${outcome ?? null}, reason = ${reason ?? null},
      updated_at = clock_timestamp(), ended_at = clock_timestamp()
    where id = ${id} and ended_at is null returning id`)
}

/** Locks the row, and permanently prevents routing and promotion by this release. False, without a change, after its end. */
export const markRolledBack = (database: Database, id: string) =>
  rowsFrom(database).any(sql`
    update releases set rolled_back_at = coalesce(rolled_back_at, clock_timestamp())
    where id = ${id} and ended_at is null returning id`)

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
    where ${ofModel(filter)} and (${open}::boolean is null or (ended_at is null) = ${open})
    order by started_at desc, id desc limit ${limit}`)
}

/** The newest first. */
export const listReleasesOfVersion = (database: Database, version: string) =>
  rowsFrom(database).list<Release>(
    sql`select ${columns} from releases where version = ${version} order by started_at desc, id desc limit 20`,
  )

/** Before the id of a release in the key of the alert about a command that its workflow has left unanswered. */
export const unansweredPrefix = 'command_unanswered/'

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
  const [change] = await listChampionHistory(database, model, 1)
  const basis = releaseBasisOf(await findReleasable(database, version), champion?.version)
  if (change?.cause !== 'rollback' || change.previousVersion === undefined) return basis
  const { previousVersion: from, actor: by, reason } = change
  return { ...basis, rollback: { from, by, reason } }
}

export const releaseBasisOf = (
  candidate: Releasable | undefined,
  champion: string | undefined,
): ReleaseBasis => ({
  champion,
  withdrawn: candidate?.withdrawn ?? false,
  artifact: candidate?.artifactDigest,
  evaluation: candidate?.evaluationDigest,
  evaluatedAgainst: candidate?.evaluatedAgainst,
  another: candidate && commandOfAnother(candidate.model, candidate.lineage),
})

// Advances: every writer of a state goes through these.

/** A release, with the newest revision that its workflow has seen. */
export interface SeenRelease {
  release: string
  seen: number
}

/** A step that a workflow asks for: the key of the effect that it has derived from the state. */
export interface StepInput extends SeenRelease {
  step: string
}

/** A step event without its time. */
export type StepReport = StepEvent extends infer Event
  ? Event extends StepEvent
    ? Omit<Event, 'atMs'>
    : never
  : never

/**
 * The state of a release, with every recorded command applied, because its workflow may have looked at none. Throws `release_not_found`, which
 * a restored backup can cause.
 */
export async function currentState(store: Store, given: SeenRelease): Promise<ReleaseState> {
  const { release, seen } = given
  // Before the row is read: a command that is applied in between is in the row.
  const isUnanswered = await hasUnanswered(store, release)
  const found = (await findRelease(store, release)) ?? lost(release)
  if (!isUnanswered && found.endedAt !== undefined) return endedState(found, seen)
  if (!isUnanswered && found.state.revision >= seen) return found.state
  return actFor(store, given, async (_database, state) => state)
}

/** The state of a release whose end is recorded, also where its end was written without its workflow. */
function endedState({ state, outcome, reason }: Release, seen: number): ReleaseState {
  if (state.closed && state.revision >= seen) return state
  const revision = Math.max(seen, state.revision) + 1
  return { ...state, stage: 'ended', outcome, reason, closed: true, revision }
}

/** Above 2 to the power of 53, one more is the same number, and the release would never advance again. */
const maxRevision = 1_000_000_000

/**
 * Acts for a release under its lock, once it has answered every recorded command. The commands are applied in transactions of their own,
 * because they lock the audit log before the champion, and an act locks the champion first.
 */
export async function actFor<T>(
  store: Pick<Store, 'transaction'>,
  given: SeenRelease,
  act: (database: Transaction, state: ReleaseState) => Promise<T>,
): Promise<T> {
  for (;;) {
    const done = await store.transaction(async (database) => {
      const before = await lockState(database, given)
      if (await applyUnanswered(database, before)) return undefined
      return { result: await act(database, before) }
    })
    if (done !== undefined) return done.result
  }
}

/**
 * Locks a release and returns its state. A row from a restored backup knows less than its workflow, and a late step may have advanced it
 * since: the epoch of the routes tells, even where the revisions agree. The release then ends with its baseline.
 */
async function lockState(database: Database, { release, seen }: SeenRelease): Promise<ReleaseState> {
  if (!Number.isInteger(seen) || seen > maxRevision)
    throw new DomainError('forbidden', `${seen} is no revision of ${release}`)
  const found = (await lockRelease(database, release)) ?? lost(release)
  if (found.endedAt !== undefined) return endedState(found, seen)
  const { state } = found
  const epoch = (await findRoutingPlace(database, state.model))?.epoch ?? firstEpoch
  if (state.revision >= seen && Math.max(state.epoch, state.restoredEpoch ?? 0) >= epoch) return state
  const { state: rolledBack } = advance(state, { kind: 'restored', atMs: await timeOf(database) })
  return save(database, { ...rolledBack, restoredEpoch: epoch, revision: Math.max(seen, state.revision) + 1 })
}

const lost = (release: string): never => {
  throw new DomainError('release_not_found', `${release} is not recorded`, { release })
}

async function save(database: Database, state: ReleaseState): Promise<ReleaseState> {
  await saveRelease(database, state)
  return state
}

/**
 * The time of an event, in whole milliseconds. The clock of the database, because that of a worker that is wrong would end a wait early or
 * hours late.
 */
const timeOf = async (database: Database): Promise<number> => Math.floor(await readNow(database))

/** Applies the report of a step, unless the release asks for another step by now. */
export const reportStep = (store: Store, input: StepInput, report: StepReport): Promise<ReleaseState> =>
  actFor(store, input, async (database, state) =>
    nextEffect(state).key === input.step ? applyReport(database, state, report) : state,
  )

/** Applies a report to a release whose row is locked. */
export async function applyReport(
  database: Database,
  state: ReleaseState,
  report: StepReport,
  { notBeforeMs = 0 }: { notBeforeMs?: number } = {},
): Promise<ReleaseState> {
  const atMs = Math.max(await timeOf(database), notBeforeMs)
  const next = advanced(state, { ...report, atMs } as StepEvent)
  return next.revision === state.revision ? next : save(database, next)
}

function advanced(state: ReleaseState, event: StepEvent): ReleaseState {
  try {
    return advance(state, event).state
  } catch (error) {
    if (!isError(error, 'invalid_transition')) throw error
    // A defect caused this event. The release must still end, or the candidate would stay exposed.
    const { atMs } = event
    const step = nextEffect(state).kind
    return advance(state, { kind: 'step_failed', step, message: error.message, atMs }).state
  }
}

/**
 * Applies the commands to a release that have no answer yet, in the order of their rows. The key of each sender is read again, so that a
 * revoked key stops working at once.
 */
export async function applyCommands(database: Transaction, given: SeenRelease): Promise<ReleaseState> {
  const state = await lockState(database, given)
  return (await applyUnanswered(database, state)) ?? state
}

/** Undefined without such a command. The row is locked. */
async function applyUnanswered(
  database: Transaction,
  given: ReleaseState,
): Promise<ReleaseState | undefined> {
  const commands = await listUnanswered(database, given.id)
  if (commands.length === 0) return undefined
  const keys = await findActiveKeys(database)
  let state = given
  for (const command of commands) {
    const key = keys.find(({ id, name }) => id === command.keyId && name === command.actor)
    const inScope = key !== undefined && (key.models === undefined || key.models.includes(state.model))
    state = await applyCommand(database, state, command, { role: key?.role, key: key?.id, inScope })
  }
  return state
}

/** Applies one command to a release whose row is locked, and records the answer with its audit row. */
export async function applyCommand(
  database: Transaction,
  state: ReleaseState,
  command: ReleaseCommand,
  sender: Pick<CommandEvent, 'role' | 'key' | 'inScope'>,
): Promise<ReleaseState> {
  const { id, kind, actor: by, keyId, reason, digests = {}, untilMs } = command
  const event: CommandEvent = {
    ...sender,
    kind: 'command',
    atMs: await timeOf(database),
    command: kind,
    by,
    basis: await findReleaseBasis(database, state),
    reason,
    artifactDigest: digests.artifact,
    evaluationDigest: digests.evaluation,
    policyDigest: digests.policy,
    untilMs,
  }
  const { state: next, applied: accepted, message } = advance(state, event)
  const { model, stage } = next
  await saveRelease(database, next)
  await answerCommand(database, id, { accepted, message, stage })
  await appendAudit(database, {
    actor: by,
    action: `release.${kind}`,
    subject: next.id,
    model,
    detail: {
      id,
      accepted,
      message,
      stage,
      reason: reason ?? null,
      key: keyId,
      digests: { ...state.digests, ...digests },
    },
  })
  if (kind === 'promoteNow' && accepted) await alertBreakGlass(database, next, command)
  return next
}

/** Raises an alert at once, because break-glass skips safeguards. */
async function alertBreakGlass(
  database: Database,
  { id, model, version, breakGlass }: ReleaseState,
  { actor, reason }: Pick<ReleaseCommand, 'actor' | 'reason'>,
): Promise<void> {
  await upsertAlert(database, {
    dedupeKey: `break_glass/${id}`,
    model,
    severity: 'critical',
    kind: 'break_glass',
    message: `Break-glass promotion of ${version} by ${actor}: ${reason ?? ''}`,
    evidence: { release: id, version, breakGlass: breakGlass ?? null },
  })
}
