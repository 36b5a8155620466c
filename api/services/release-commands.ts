/**
 * Records a command to a release, tells its workflow and returns the answer, for the API and the dashboard. While Temporal is unreachable,
 * the row waits for its delivery.
 */
import { randomUUID } from 'node:crypto'
import { alreadyApproved } from '../../domain/release/reducer.ts'
import { requesterIssue } from '../../domain/release/approval.ts'
import { DomainError, isError, requireFound } from '../../domain/errors.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import {
  asksAboutAnswers,
  type ReleaseDigests,
  type ReleaseStage,
  type ReleaseState,
} from '../../domain/release/state.ts'
import type { Database } from '../../store/postgres.ts'
import { findRelease, type Release } from '../../store/release/releases.ts'
import {
  deferredMessage,
  type DeferredCommand,
  type KeepDeferred,
  findAnswer,
  insertCommand,
  releaseCommandIdOf,
  reschedule,
  type ReleaseCommand,
} from '../../store/commands.ts'
import { commandUpdates, type CommandMessage, type CommandName } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { isNotFound } from '../temporal/errors.ts'
import { orderRollback } from './rollback/rollback-model.ts'
import type { RollbackReplica } from './rollback/write-rollback.ts'

/** What a sender is told whose command the release has not answered yet. */
const unansweredMessage = 'recorded; the release has not answered it yet'

/** How long a command waits for the workflow's answer. */
const commandMs = 8_000

export interface ReleaseCommandInput {
  command: CommandName
  release: string
  reason?: string
  /** The digests that the sender saw. Default: those of the release, because the release id implies them. */
  digests?: Partial<ReleaseDigests>
  /** The version that the sender saw. Absent: that of the release. */
  version?: string
  /** The stage that the sender saw. Absent: any. */
  stage?: ReleaseStage
  /** Idempotency key: the same key runs the same command once. */
  once?: string
}

export interface ReleaseCommandResult {
  release: string
  accepted: boolean
  stage: string
  message: string
  /** For a rollback: the state of each live replica. */
  replicas?: RollbackReplica[]
}

/** Records a command and delivers it. Throws `command_refused` when the release rejects it. */
export async function sendReleaseCommand(
  deps: CommandDeps,
  actor: Actor,
  input: ReleaseCommandInput,
  keep?: KeepDeferred,
): Promise<{ result: ReleaseCommandResult } | { deferred: DeferredCommand }> {
  const { command } = input
  if (command === 'rollback') return { result: await rollBackRelease(deps, actor, input) }
  const { store, temporal, log } = deps
  const { state, workflowId, runId } = await getRelease(store, input.release)
  const { id: release, stage } = state
  if (stage === 'ended') throw hasEnded(state)
  requireShown(state, input)
  const row = commandOf(actor, state, input)
  const { id } = row
  // The delivery waits for the answer to this request.
  await store.transaction((database) => insertCommand(database, row, { deliverInMs: 2 * commandMs }))
  const defer = async (message: string, problem?: string): Promise<{ deferred: DeferredCommand }> => {
    const deferred = { id, release, command, state: 'waiting', message } as const
    await store.transaction(async (database) => {
      await reschedule(database, { id, problem, againMs: 0 })
      await keep?.(database, deferred)
    })
    log.info({ release, command, by: actor.name }, 'command deferred')
    return { deferred }
  }
  const own = command === 'approve' ? requesterIssue(state, { by: actor.name, key: actor.id }) : undefined
  try {
    const known = await findAnswer(store, { id, release })
    if (known === undefined)
      await temporal.command(commandMs, (client) =>
        client.workflow
          // Without a run id, so that the update reaches the run that is open now.
          .getHandle(workflowId, undefined, { firstExecutionRunId: runId })
          // With an id of its own, because Temporal would answer it with the result of an earlier update, which anybody can have sent.
          .executeUpdate(commandUpdates[command], { args: [{ command: id }] }),
      )
    // The row is the answer: the workflow may be that of a client of Temporal, which answers what it likes.
    const result = known ?? (await findAnswer(store, { id, release }))
    if (result === undefined) return await defer(unansweredMessage)
    log.info({ release, command, by: actor.name, ...result }, 'command')
    if (!result.accepted)
      throw own !== undefined && result.stage === 'awaiting_approval'
        ? selfApproved(result.message, result.stage)
        : refused(result.message, result.stage)
    return { result: { release, ...result } }
  } catch (error) {
    if (isNotFound(error)) throw refused('the release has ended', 'ended')
    if (!isError(error, 'temporal_unavailable')) throw error
    // This refusal is known in advance; every other answer is the release's.
    if (own !== undefined) throw selfApproved(own, stage)
    return defer(deferredMessage, error.message)
  }
}

type Shown = Pick<ReleaseCommandInput, 'command' | 'version' | 'stage'>

/**
 * Throws when the release is of another version or at another stage than the sender saw, because a repeated approval must not pass a stage
 * that waits for a decision.
 */
function requireShown(
  state: ReleaseState,
  { command, stage: shown = state.stage, version = state.version }: Shown,
) {
  const { stage } = state
  if (version !== state.version)
    throw refused(`the command names the version ${version}, the release has ${state.version}`, stage)
  if (shown === stage) return
  const approved = command === 'approve' ? alreadyApproved(state, Date.now()) : undefined
  throw refused(
    approved ?? `the release is in the stage ${stage} now; the command was given in ${shown}`,
    stage,
  )
}

/** The row of a command that the owner of the key gives to this release. */
function commandOf(
  actor: Actor,
  state: ReleaseState,
  { command, reason, digests: shown = {}, ...input }: ReleaseCommandInput,
): ReleaseCommand {
  const { id: releaseId, model, digests } = state
  return {
    id: releaseCommandIdOf(actor.id, { kind: command, once: onceOf(input) }),
    kind: command,
    releaseId,
    model,
    actor: actor.name,
    keyId: actor.id,
    role: actor.role,
    reason: reason === '' ? undefined : reason,
    digests: { ...digests, ...definedOf(shown) },
    untilMs: untilOf(command, state),
  }
}

const definedOf = (digests: Partial<ReleaseDigests>): Partial<ReleaseDigests> =>
  Object.fromEntries(Object.entries(digests).filter(([, digest]) => digest !== undefined))

/** The form of a page sends any of its commands with one idempotency key. */
const onceOf = ({ release, once }: Pick<ReleaseCommandInput, 'release' | 'once'>): string =>
  once === undefined ? randomUUID() : `${release} ${once}`

export interface SignedSignal {
  /** The namespace of the workflow. */
  namespace: string
  workflowId: string
  signal: CommandName
  /** The input of the signal. */
  payload: CommandMessage
}

/** How long a recorded command waits for the signal of its sender before it is delivered without it. */
const signalMs = 60_000

/** Records a command that the owner of the key delivers as a signal. Throws `command_refused` for a release that has ended. */
export async function signReleaseCommand(
  deps: Pick<CommandDeps, 'store' | 'temporal'>,
  actor: Actor,
  { release, ...input }: ReleaseCommandInput,
): Promise<SignedSignal> {
  const { store, temporal } = deps
  const { state, workflowId } = await getRelease(store, release)
  if (state.stage === 'ended') throw hasEnded(state)
  requireShown(state, input)
  const row = commandOf(actor, state, { release, ...input })
  await store.transaction((database) => insertCommand(database, row, { deliverInMs: signalMs }))
  return { namespace: temporal.namespace, workflowId, signal: input.command, payload: { command: row.id } }
}

/** Written to the database at once; the release receives the command for its records. */
async function rollBackRelease(
  deps: CommandDeps,
  actor: Actor,
  { release, reason = '', once, ...shown }: ReleaseCommandInput,
): Promise<ReleaseCommandResult> {
  const { state } = await getRelease(deps.store, release)
  if (state.stage === 'ended' && state.closed) throw hasEnded(state)
  requireShown(state, shown)
  const id = onceOf({ release, once })
  const { model, version } = state
  // With the version: replicas would apply a stored order to the champion while callers do not get the candidate.
  const { message, replicas } = await orderRollback(deps, actor, { id, model, version, release, reason })
  return { release, accepted: true, stage: 'rolling_back', message, replicas }
}

/** When a command expires, in milliseconds: a command that ends a wait for approvers expires with that wait. */
function untilOf(command: CommandName, state: ReleaseState): number | undefined {
  const effect = nextEffect(state)
  if (command !== 'approve' && command !== 'resume') return undefined
  return 'untilMs' in effect && !asksAboutAnswers(state) ? effect.untilMs : undefined
}

/** Throws `release_not_found`. */
export const getRelease = async (database: Database, id: string): Promise<Release> =>
  requireFound(await findRelease(database, id), { what: 'release', id, code: 'release_not_found' })

const refused = (message: string, stage: string): DomainError =>
  new DomainError('command_refused', message, { stage })

const hasEnded = ({ outcome, reason }: ReleaseState): DomainError =>
  refused(
    `the release has ended: ${outcome}${reason === undefined ? '' : ` (${withoutEvidence(reason)})`}`,
    'ended',
  )

const selfApproved = (message: string, stage: string): DomainError =>
  new DomainError('command_refused', message, {
    stage,
    remedy:
      'Approve with the key of another user: set TENURE_KEY to it. An admin creates one with `tenure keys create <name> --role approver`.',
  })
