/** Signs the commands and records the starts that tests send to Temporal, as the API does. */
import type { Client } from '@temporalio/client'
import { randomUUID } from 'node:crypto'
import { type CommandName, releaseIdOf } from '../../../domain/release/state.ts'
import type { StartType } from '../../../domain/roles.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import type { StartInputs } from '../../../domain/starts.ts'
import {
  answerCommand,
  commandIdOf,
  insertCommand,
  insertStart,
  releaseCommandIdOf,
} from '../../../store/commands.ts'
import type { Config } from '../../../temporal.config.ts'
import { commandSignals, type CommandMessage } from '../../../workflows/messages.ts'

/** Where the signing keys are: users' keys in the store, the installation's key in the configuration. */
export interface Signing {
  store: Store
  config: Pick<Config, 'signing'>
}

/** The first run of a release's workflow. */
export interface ReleaseRun {
  workflowId: string
  firstExecutionRunId: string
}

/** Pending lookups of keys. A burst of commands shares one lookup; separate lookups would take every connection. */
const lookups = new WeakMap<Store, ReturnType<typeof findActiveKeys>>()

function findKeys(store: Store): ReturnType<typeof findActiveKeys> {
  const under = lookups.get(store)
  if (under !== undefined) return under
  const lookup = findActiveKeys(store).finally(() => lookups.delete(store))
  lookups.set(store, lookup)
  return lookup
}

/** A command as a test gives it. */
export interface GivenCommand {
  /** The name of the sender's key. */
  by: string
  reason?: string
  /** The idempotency key. */
  id?: string
  artifactDigest?: string
  evaluationDigest?: string
  policyDigest?: string
  /** ISO 8601 */
  until?: string
}

/** Records a command to a release, as the API does, and returns the message that names it. */
export async function recorded(
  { store }: Pick<Signing, 'store'>,
  { workflowId, firstExecutionRunId }: ReleaseRun,
  kind: CommandName,
  { by, reason, id: once = randomUUID(), until, ...seen }: GivenCommand,
): Promise<CommandMessage> {
  const key = (await findKeys(store)).find(({ name }) => name === by)
  const { artifactDigest: artifact, evaluationDigest: evaluation, policyDigest: policy } = seen
  const releaseId = releaseIdOf(firstExecutionRunId)
  const { id: keyId = 'key_none', role = 'viewer' } = key ?? {}
  const row = {
    id: releaseCommandIdOf(keyId, { kind, once: `${releaseId} ${once}` }),
    kind,
    releaseId,
    model: workflowId.slice('release/'.length),
    actor: by,
    keyId,
    role,
    reason,
    digests: { artifact, evaluation, policy },
    untilMs: until === undefined ? undefined : Date.parse(until),
  }
  await store.transaction((database) => insertCommand(database, row))
  return { command: row.id }
}

/** Records a command with its answer, as a release does. */
export async function insertAnswered(
  store: Store,
  {
    release: releaseId,
    by: actor,
    message = '',
    accepted = true,
    ...given
  }: { release: string; model: string; kind: CommandName; by: string; message?: string; accepted?: boolean },
): Promise<void> {
  const { kind } = given
  const id = releaseCommandIdOf(releaseId, { kind, once: randomUUID() })
  await store.transaction(async (database) => {
    await insertCommand(database, { ...given, id, releaseId, actor, keyId: 'key_none', role: 'approver' })
    await answerCommand(database, id, { accepted, message, stage: 'awaiting_approval' })
  })
}

/** Records a start of its requester, as the API does, and returns the input of the workflow. Without a key of that name, no row is there. */
export async function orderedStart<Kind extends StartType>(
  { store }: Pick<Signing, 'store'>,
  kind: Kind,
  { requestedBy, ...rest }: StartInputs[Kind] & { requestedBy: string },
): Promise<{ model: string; order: string }> {
  const order = commandIdOf(randomUUID())
  const input = rest as unknown as StartInputs[Kind] & { model: string }
  const by = (await findKeys(store)).find(({ name }) => name === requestedBy)
  if (by !== undefined)
    await store.transaction((database) => insertStart(database, { id: order, kind, by, input }))
  return { model: input.model, order }
}

/** Signals the workflow run that the model's open release row names. */
export async function signalOpenRelease(
  signing: Signing & { client: Client },
  model: string,
  name: CommandName,
  given: GivenCommand,
): Promise<void> {
  const { workflowId, runId } = (await findOpenRelease(signing.store, model))!
  const command = await recorded(signing, { workflowId, firstExecutionRunId: runId }, name, given)
  await signing.client.workflow.getHandle(workflowId).signal(commandSignals[name], command)
}
