/**
 * Sends a signed command to a release and returns its answer, for the API and the dashboard. While Temporal is unreachable, the command
 * is stored for later delivery.
 */
import { randomUUID } from 'node:crypto'
import { alreadyApproved } from '../../domain/release/commands.ts'
import { isRequester } from '../../domain/release/approval.ts'
import { DomainError, isError } from '../../domain/errors.ts'
import { withoutEvidence } from '../../domain/release/explain.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseDigests, ReleaseStage, ReleaseState } from '../../domain/release/state.ts'
import type { OutboxMessage } from '../../store/release/command-outbox.ts'
import type { Database } from '../../store/postgres.ts'
import { findRelease, type Release } from '../../store/release/releases.ts'
import { signCommand } from '../../store/signing/command-signatures.ts'
import { commandUpdates, type CommandName } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import { findInScope } from '../auth/authorization.ts'
import type { CommandDeps } from '../deps.ts'
import { isNotFound } from '../temporal/errors.ts'
import { orderRollback } from './rollback/rollback-model.ts'
import type { RollbackReplica } from './rollback/write-rollback.ts'
import { defer, type DeferredCommand, type KeepDeferred } from './deferred-commands.ts'

/** How long a command waits for the workflow's answer. */
const commandMs = 8_000

export interface ReleaseCommandInput {
  command: CommandName
  release: string
  reason?: string
  /** The digests that the sender saw. Default: those of the release, because the release id implies them. */
  seen?: Partial<ReleaseDigests>
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

/** Sends a command. Throws `command_refused` when the release rejects it. */
export async function sendReleaseCommand(
  deps: CommandDeps,
  actor: Actor,
  input: ReleaseCommandInput,
  keep?: KeepDeferred,
): Promise<{ result: ReleaseCommandResult } | { deferred: DeferredCommand }> {
  const { command } = input
  if (command === 'rollback') return { result: await rollBackRelease(deps, actor, input) }
  const { state, workflowId, runId } = await getReleaseInScope(deps.store, actor, input.release)
  const { id: release, stage, model } = state
  if (stage === 'ended') throw hasEnded(state)
  requireStage(state, input)
  const signed = signerOf(deps, actor, state, input)
  const isOwn = command === 'approve' && isRequester(state, { by: actor.name, key: actor.id })
  try {
    const message = signed()
    const result = await deps.temporal.command(commandMs, (client) =>
      client.workflow
        // Without a run id, so that the update reaches the run that is open now.
        .getHandle(workflowId, undefined, { firstExecutionRunId: runId })
        // Temporal answers a second update with the same id itself. A forged update cannot have the signature as its id.
        .executeUpdate(commandUpdates[command], { args: [message], updateId: message.signature }),
    )
    deps.log.info({ release, command, by: actor.name, ...result }, 'command')
    if (!result.accepted)
      throw isOwn && result.stage === 'awaiting_approval'
        ? selfApproved(result.message, result.stage)
        : refused(result.message, result.stage)
    return { result: { release, ...result } }
  } catch (error) {
    if (isNotFound(error)) throw refused('the release has ended', 'ended')
    if (!isError(error, 'temporal_unavailable')) throw error
    // This refusal is known in advance; every other answer is the release's.
    if (isOwn) throw selfApproved(`${actor.name} requested the release; someone else must approve it`, stage)
    const recording = { releaseId: release, model, command, message: signed(untilOf(command, state)) }
    return { deferred: await defer(deps, recording, keep) }
  }
}

/**
 * Throws when the release is at another stage than the sender saw, because a repeated approval must not pass a stage that waits for a
 * decision.
 */
function requireStage(
  state: ReleaseState,
  { command, stage: seen = state.stage }: Pick<ReleaseCommandInput, 'command' | 'stage'>,
) {
  const { stage } = state
  if (seen === stage) return
  const approved = command === 'approve' ? alreadyApproved(state, Date.now()) : undefined
  throw refused(
    approved ?? `the release is in the stage ${stage} now; the command was given in ${seen}`,
    stage,
  )
}

/** Returns a function that signs a command to this release for the owner of the key. */
function signerOf(
  { signer, serving }: Pick<CommandDeps, 'signer' | 'serving'>,
  actor: Actor,
  { id: release, model, digests }: ReleaseState,
  { command, reason, seen = {}, once }: Omit<ReleaseCommandInput, 'release'>,
) {
  const message = {
    id: commandIdOf(actor, { command, once }),
    by: actor.name,
    // The workflow drops an empty text before it verifies the signature.
    reason: reason === '' ? undefined : reason,
    artifactDigest: seen.artifact ?? digests.artifact,
    evaluationDigest: seen.evaluation ?? digests.evaluation,
    policyDigest: seen.policy ?? digests.policy,
  }
  return (until?: string): OutboxMessage => {
    const complete = { ...message, until }
    const claim = { ...complete, command, model, release }
    return { ...complete, signature: signCommand(signer, claim, { keyId: actor.id, nowMs: serving.wall() }) }
  }
}

/** Two keys may choose the same idempotency key, and the form of a page sends any of its commands with one. */
const commandIdOf = (
  { id }: Pick<Actor, 'id'>,
  { command, once }: Pick<ReleaseCommandInput, 'command' | 'once'>,
): string => (once === undefined ? randomUUID() : `${id}/${command}/${once}`)

export interface SignedSignal {
  /** The namespace of the workflow. */
  namespace: string
  workflowId: string
  signal: CommandName
  /** The input of the signal. The release accepts it within 24 h, once. */
  payload: OutboxMessage
}

/** Signs a command that the owner of the key sends as a signal. Throws `command_refused` for a release that has ended. */
export async function signReleaseCommand(
  deps: Pick<CommandDeps, 'store' | 'signer' | 'serving' | 'temporal'>,
  actor: Actor,
  { release, ...input }: ReleaseCommandInput,
): Promise<SignedSignal> {
  const { state, workflowId } = await getReleaseInScope(deps.store, actor, release)
  if (state.stage === 'ended') throw hasEnded(state)
  requireStage(state, input)
  const signed = signerOf(deps, actor, state, input)
  return { namespace: deps.temporal.namespace, workflowId, signal: input.command, payload: signed() }
}

/** Written to the database at once; the release receives the command for its records. */
async function rollBackRelease(
  deps: CommandDeps,
  actor: Actor,
  { release, reason = '', once, stage }: ReleaseCommandInput,
): Promise<ReleaseCommandResult> {
  const { state } = await getReleaseInScope(deps.store, actor, release)
  if (state.stage === 'ended' && state.closed) throw hasEnded(state)
  requireStage(state, { command: 'rollback', stage })
  const id = commandIdOf(actor, { command: 'rollback', once })
  const { model, version } = state
  // With the version: replicas would apply a stored order to the champion while callers do not get the candidate.
  const { message, replicas } = await orderRollback(deps, actor, { id, model, version, release, reason })
  return { release, accepted: true, stage: 'rolling_back', message, replicas }
}

/** Returns when a command expires: a command that ends a wait for approvers expires with that wait. */
function untilOf(command: CommandName, state: ReleaseState): string | undefined {
  const effect = nextEffect(state)
  const untilMs = 'untilMs' in effect ? effect.untilMs : undefined
  if (untilMs === undefined || (command !== 'approve' && command !== 'resume')) return undefined
  return new Date(untilMs).toISOString()
}

/** Reads a release. Throws `release_not_found`, and `forbidden` when the key may not access its model. */
export async function getReleaseInScope(
  database: Database,
  actor: Actor | undefined,
  id: string,
): Promise<Release> {
  const lookup = findRelease(database, id).then((found) => found && { model: found.state.model, found })
  return (await findInScope(actor, { what: 'release', id, code: 'release_not_found' }, lookup)).found
}

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
