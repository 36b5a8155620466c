/**
 * Says a word of a person to a release, for the API and for the pages alike: signed, once, and answered by the release itself. Two
 * ways to say the same would sooner or later mean two things. While Temporal is away it is written down, and deliver.ts sends it
 * when Temporal is back: a person would have to sit and try otherwise.
 */
import { randomUUID } from 'node:crypto'
import { isRequester } from '../../domain/release/approval.ts'
import { DomainError, isError } from '../../domain/errors.ts'
import { nextEffect } from '../../domain/release/next-effect.ts'
import type { ReleaseDigests, ReleaseState } from '../../domain/release/state.ts'
import type { OutboxMessage } from '../../store/release/command-outbox.ts'
import type { Database } from '../../store/postgres.ts'
import { findRelease, type Release } from '../../store/release/releases.ts'
import { signCommand } from '../../store/signing/command-signatures.ts'
import { commandUpdates, type CommandName } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { RouteResponse, RouteRequest } from '../http/route.ts'
import type { ApiDeps } from '../deps.ts'
import { defer } from './deferred-commands.ts'
import { requireModelAccess } from '../auth/authorization.ts'
import { isNotFound } from '../temporal/errors.ts'

/** How long a command waits for the workflow's answer. */
const commandMs = 8_000

export interface ReleaseCommandInput {
  name: CommandName
  /** Of the release. */
  id: string
  actor: Actor
  reason?: string
  /** What the sender has seen. What is not named is what the release was about when it was looked up: its id stands for all three. */
  seen?: { [Name in keyof ReleaseDigests]?: string | undefined }
  /** The same command under the same name is carried out once. */
  once?: string
  /** Keeps the answer for whoever sends it again, with what is written down. */
  keep?: RouteRequest<unknown, unknown>['keep'] | undefined
}

/** Answers 200 with what the release says, or 202 with what is written down for it. Throws `command_refused` when the release does not accept it. */
export async function sendReleaseCommand(deps: ApiDeps, saying: ReleaseCommandInput): Promise<RouteResponse> {
  const { name, actor, reason, seen = {}, once } = saying
  const { state, workflowId, runId } = await getReleaseInScope(deps.store, actor, saying.id)
  if (state.stage === 'ended') throw refused(`the release has ended: ${state.outcome}`, state.stage)
  const { digests, model } = state
  const said = {
    // Two people may choose the same name for their commands.
    id: once === undefined ? randomUUID() : `${actor.id}/${once}`,
    by: actor.name,
    reason,
    artifactDigest: seen.artifact ?? digests.artifact,
    evaluationDigest: seen.evaluation ?? digests.evaluation,
    policyDigest: seen.policy ?? digests.policy,
  }
  const signed = (more: { until?: string } = {}): OutboxMessage => {
    const whole = { ...said, ...more }
    const warranted = { ...whole, command: name, model, release: state.id }
    const nowMs = deps.serving.wall()
    return { ...whole, signature: signCommand(deps.signer, warranted, { keyId: actor.id, nowMs }) }
  }
  try {
    const result = await deps.temporal.command(commandMs, (client) =>
      client.workflow
        // Whichever run of it goes on now.
        .getHandle(workflowId, undefined, { firstExecutionRunId: runId })
        .executeUpdate(commandUpdates[name], { args: [signed()], updateId: said.id }),
    )
    deps.log.info({ release: state.id, command: name, by: said.by, ...result }, 'command')
    if (!result.accepted) throw refused(result.message, result.stage)
    return { json: { release: state.id, ...result } }
  } catch (error) {
    if (isNotFound(error)) throw refused('the release has ended', 'ended')
    if (!isError(error, 'temporal_unavailable')) throw error
    return record(deps, saying, state, signed(untilOf(name, state)))
  }
}

/** Whoever may not say it at all learns it at once; everything else is the release's to answer. */
async function record(
  deps: ApiDeps,
  { name: command, actor, keep }: ReleaseCommandInput,
  state: ReleaseState,
  message: OutboxMessage,
): Promise<RouteResponse> {
  const { id: release, model, stage } = state
  if (command === 'approve' && isRequester(state, { by: actor.name, key: actor.id }))
    throw refused(`${actor.name} requested the release; someone else must approve it`, stage)
  return defer(deps, { releaseId: release, model, command, message }, keep)
}

/** What ends a wait for people means nothing once that wait is over, however late it comes. */
function untilOf(name: CommandName, state: ReleaseState): { until?: string } {
  const effect = nextEffect(state)
  const untilMs = 'untilMs' in effect ? effect.untilMs : undefined
  if (untilMs === undefined || (name !== 'approve' && name !== 'resume')) return {}
  return { until: new Date(untilMs).toISOString() }
}

/** Throws `release_not_found`, and `forbidden` when the key may not touch its model. */
export async function getReleaseInScope(
  database: Database,
  actor: Actor | undefined,
  id: string,
): Promise<Release> {
  const release = await findRelease(database, id)
  if (release === undefined)
    throw new DomainError('release_not_found', `there is no release ${JSON.stringify(id.slice(0, 100))}`)
  requireModelAccess(actor, release.state.model)
  return release
}

const refused = (message: string, stage: string): DomainError =>
  new DomainError('command_refused', message, { stage })
