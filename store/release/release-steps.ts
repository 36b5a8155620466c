/**
 * Advances releases: reads the row under its lock, gives the reducer what has happened, and writes the row back. Every writer of a release
 * goes through here, so that one order of events holds for steps, commands and restored backups.
 */
import { DomainError, isError } from '../../domain/errors.ts'
import { type CommandEvent, type StepEvent, advance } from '../../domain/release/reducer.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { findActiveKeys } from '../access/api-keys.ts'
import { appendAudit, type Transaction } from '../audit/audit-log.ts'
import { readNow } from '../database/clock.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import type { Database, Store } from '../postgres.ts'
import { findRoutingPlace, firstEpoch } from '../serving/routing.ts'
import { answerCommand, listUnanswered, type ReleaseCommand } from '../commands.ts'
import { findRelease, findReleaseBasis, lockRelease, saveRelease, type Release } from './releases.ts'

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

/** The state of a release. Throws `release_not_found`, which a restored backup can cause. */
export async function currentState(store: Store, { release, seen }: SeenRelease): Promise<ReleaseState> {
  const found = (await findRelease(store, release)) ?? lost(release)
  if (found.endedAt !== undefined) return endedState(found, seen)
  if (found.state.revision >= seen) return found.state
  return store.transaction((database) => lockState(database, { release, seen }))
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
 * Locks a release and returns its state. A row from a restored backup knows less than its workflow, and a late step may have advanced it
 * since: the epoch of the routes tells, even where the revisions agree. The release then ends with its baseline.
 */
export async function lockState(database: Database, { release, seen }: SeenRelease): Promise<ReleaseState> {
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
export async function reportStep(
  database: Database,
  input: StepInput,
  report: StepReport,
): Promise<ReleaseState> {
  const state = await lockState(database, input)
  return nextEffect(state).key === input.step ? applyReport(database, state, report) : state
}

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
  let state = await lockState(database, given)
  const commands = await listUnanswered(database, given.release)
  if (commands.length === 0) return state
  const keys = await findActiveKeys(database)
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
