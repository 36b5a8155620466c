/**
 * Says a word of a person to a release, for the API and for the pages alike: signed, once, and answered by the release itself. Two
 * ways to say the same would sooner or later mean two things.
 */
import { randomUUID } from 'node:crypto'
import { DomainError } from '../domain/errors.ts'
import type { ReleaseDigests } from '../domain/release.ts'
import type { Database } from '../store/postgres.ts'
import { findRelease, type Release } from '../store/releases.ts'
import { makeWarrant } from '../store/warrants.ts'
import { commandUpdates, type Command, type CommandName, type CommandResult } from '../workflows/contract.ts'
import type { Actor } from './auth.ts'
import type { ApiDeps } from './deps.ts'
import { expectInScope } from './scope.ts'
import { isNotFound } from './workflow-errors.ts'

/** How long a command waits for the workflow's answer. */
const commandMs = 8_000

export interface Saying {
  name: CommandName
  /** Of the release. */
  id: string
  actor: Actor
  reason?: string
  /** What the sender has seen. What is not named is what the release was about when it was looked up: its id stands for all three. */
  seen?: { [Name in keyof ReleaseDigests]?: string | undefined }
  /** The same command under the same name is carried out once. */
  once?: string
}

/** Throws `command_refused` when the release does not accept it. */
export async function sayToRelease(
  deps: ApiDeps,
  { name, id: releaseId, actor, reason, seen = {}, once }: Saying,
): Promise<CommandResult & { release: string }> {
  const { state, workflowId, runId } = await getReleaseInScope(deps.store, actor, releaseId)
  if (state.stage === 'ended') throw refused(`the release has ended: ${state.outcome}`, state.stage)
  // Two people may choose the same name for their commands.
  const id = once === undefined ? randomUUID() : `${actor.id}/${once}`
  const { digests, model } = state
  const unsaid: Command = {
    id,
    by: actor.name,
    ...(reason === undefined ? {} : { reason }),
    artifactDigest: seen.artifact ?? digests.artifact,
    evaluationDigest: seen.evaluation ?? digests.evaluation,
    policyDigest: seen.policy ?? digests.policy,
  }
  const warranted = { ...unsaid, id, command: name, model, release: state.id }
  const warrant = makeWarrant(deps.signer, warranted, { keyId: actor.id, nowMs: deps.serving.wall() })
  const said: Command = { ...unsaid, warrant }
  try {
    const result = await deps.temporal.command(commandMs, (client) =>
      client.workflow
        .getHandle(workflowId, runId)
        .executeUpdate(commandUpdates[name], { args: [said], updateId: id }),
    )
    deps.log.info({ release: state.id, command: name, by: said.by, ...result }, 'command')
    if (!result.accepted) throw refused(result.message, result.stage)
    return { release: state.id, ...result }
  } catch (error) {
    if (isNotFound(error)) throw refused('the release has ended', 'ended')
    throw error
  }
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
  expectInScope(actor, release.state.model)
  return release
}

const refused = (message: string, stage: string): DomainError =>
  new DomainError('command_refused', message, { stage })
