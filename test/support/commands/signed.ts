/** Signs the commands and records the starts that tests send to Temporal, as the API does. */
import type { Client } from '@temporalio/client'
import { randomUUID } from 'node:crypto'
import type { CommandName } from '../../../domain/release/state.ts'
import type { StartType } from '../../../domain/roles.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findOpenRelease } from '../../../store/release/releases.ts'
import type { StartInputs } from '../../../domain/starts.ts'
import { commandIdOf, insertStart } from '../../../store/commands.ts'
import { signCommand } from '../../../store/signing/command-signatures.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import type { Config } from '../../../temporal.config.ts'
import { commandSignals, releaseIdOf, type Command } from '../../../workflows/messages.ts'

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

/** Signs a command. Returns it unchanged when it already carries a signature or no active key has the name of its user. */
export async function signed(
  { store, config }: Signing,
  { workflowId, firstExecutionRunId }: ReleaseRun,
  command: CommandName,
  given: Command,
): Promise<Command & { id: string }> {
  const statement = { ...given, id: given.id ?? randomUUID() }
  const key = (await findKeys(store)).find(({ name }) => name === statement.by)
  if (statement.signature !== undefined || key === undefined) return statement
  const claim = {
    ...statement,
    command,
    model: workflowId.slice('release/'.length),
    release: releaseIdOf(firstExecutionRunId),
  }
  const signer = await openSigner(config.signing, 'commands')
  return { ...statement, signature: signCommand(signer, claim, { keyId: key.id, nowMs: Date.now() }) }
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
  given: Command,
): Promise<void> {
  const { workflowId, runId } = (await findOpenRelease(signing.store, model))!
  const command = await signed(signing, { workflowId, firstExecutionRunId: runId }, name, given)
  await signing.client.workflow.getHandle(workflowId).signal(commandSignals[name], command)
}
