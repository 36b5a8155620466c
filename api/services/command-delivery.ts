/**
 * Delivers deferred commands when Temporal is back. Every replica delivers, because the replica that stored a command may be down. A
 * command to a release is a signal, sent again until the release answers, because a run may end before it reads a signal.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { DomainError, isError } from '../../domain/errors.ts'
import type { StartType } from '../../domain/roles.ts'
import { findActiveKeys } from '../../store/access/api-keys.ts'
import {
  answerStart,
  claimDueCommands,
  claimDueStarts,
  markCommandSent,
  reschedule,
  type DueCommand,
  type DueStart,
} from '../../store/commands.ts'
import type { Store } from '../../store/postgres.ts'
import { upsertAlert } from '../../store/monitoring/alerts.ts'
import { applyCommands, unansweredPrefix } from '../../store/release/releases.ts'
import { commandSignals } from '../../workflows/messages.ts'
import { actorOfKey, requireRole, type Actor } from '../auth/authentication.ts'
import { depsOf } from '../auth/authorization.ts'
import type { CommandDeps } from '../deps.ts'
import { toWire } from '../http/schemas.ts'
import { callTimeoutMs } from '../temporal/client.ts'
import { isNotFound } from '../temporal/errors.ts'
import type { StartCommand, StartInput } from './start-command.ts'
import { deliverPendingRollbacks } from './rollback/rollback-without-database.ts'
import { startBatch } from './start-batch.ts'
import { startRelease } from './start-release.ts'
import { startRetraining } from './start-retraining.ts'

export const deliveryPolicy = {
  /** The interval between checks of the outbox. */
  lookMs: 1_000,
  /** How long a replica owns a claimed command; longer than sending takes. */
  leaseMs: 5_000,
  batchSize: 20,
  /** The time for the release to answer before the signal is sent again, or the command is applied without its workflow. */
  resendMs: 15_000,
}
type DeliveryPolicy = typeof deliveryPolicy

/** Delivers until the returned function is called. */
export function startDelivery(
  deps: CommandDeps,
  onError: (what: string, error?: unknown) => void,
): () => Promise<void> {
  const stopping = new AbortController()
  const { signal } = stopping
  const deliver = async (): Promise<void> => {
    while (!signal.aborted) {
      await deliverPendingRollbacks(deps).catch((error: unknown) =>
        onError('a kept rollback could not be carried out', error),
      )
      const isMore = await deliverDue(deps, deliveryPolicy).catch((error: unknown) => {
        onError('the outbox of deferred commands could not be read', error)
        return false
      })
      if (!isMore) await pause(deliveryPolicy.lookMs, undefined, { signal }).catch(() => {})
    }
  }
  const done = deliver()
  return () => {
    stopping.abort()
    return done
  }
}

/** Delivers the due commands. Returns whether more may be due. */
export async function deliverDue(
  deps: CommandDeps,
  policy: DeliveryPolicy = deliveryPolicy,
): Promise<boolean> {
  const { store, log } = deps
  const claim = { limit: policy.batchSize, leaseMs: policy.leaseMs }
  const items = [...(await claimDueCommands(store, claim)), ...(await claimDueStarts(store, claim))]
  const ends = await Promise.all(
    items.map(async (item) => {
      const { id, model } = item
      try {
        const end = await ('releaseId' in item ? deliverSignal(deps, item, policy) : deliverStart(deps, item))
        const release = 'releaseId' in item ? item.releaseId : undefined
        log.info({ release, command: item.kind, model, id, end }, 'deferred command')
        return true
      } catch (error) {
        await reschedule(store, { id, problem: (error as Error).message, againMs: policy.lookMs })
        return false
      }
    }),
  )
  return ends.length > 0 && ends.every(Boolean)
}

async function deliverSignal(
  { store, temporal }: CommandDeps,
  item: DueCommand,
  policy: DeliveryPolicy,
): Promise<'sent' | 'refused' | 'applied'> {
  const { id, workflowId, kind, releaseId: release, outcome, isIgnored } = item
  const runId = await temporal.call(callTimeoutMs, (client) => findRun(client, item))
  if (runId === undefined) {
    // The control workers close an open release without a run.
    if (outcome === undefined) throw new Error('the release has no workflow run and is about to be closed')
    // The release has ended, so its row refuses the command.
    await store.transaction((database) => applyCommands(database, { release, seen: 0 }))
    await markCommandSent(store, { id, againMs: 0 })
    return 'refused'
  }
  await temporal.call(callTimeoutMs, (client) =>
    client.workflow.getHandle(workflowId, runId).signal(commandSignals[kind], { command: id }),
  )
  if (isIgnored) await applyIgnored(store, item)
  await markCommandSent(store, { id, againMs: policy.resendMs })
  return isIgnored ? 'applied' : 'sent'
}

/**
 * Applies a command that the workflow of its release has left unanswered: it may be blocked, or run in the worker of a client of Temporal,
 * which looks at no row. Every step of the release then finds it in the row.
 */
const applyIgnored = (
  store: Store,
  { kind, releaseId: release, workflowId, model }: DueCommand,
): Promise<void> =>
  store.transaction(async (database) => {
    await applyCommands(database, { release, seen: 0 })
    await upsertAlert(database, {
      dedupeKey: `${unansweredPrefix}${release}`,
      model,
      severity: 'critical',
      kind: 'workflow_blocked',
      message: `The workflow ${workflowId} has not answered the command ${kind} to ${release}; it is applied without the workflow. Check which workers poll Temporal: tenure doctor. If it does not go on, end it: temporal workflow terminate --workflow-id ${workflowId} --reason "…"`,
      evidence: { release, workflow: workflowId, command: kind },
    })
  })

type Client = Parameters<Parameters<CommandDeps['temporal']['call']>[1]>[0]

/** Returns the open run of this release. The workflow id alone may belong to a later release of the model. */
async function findRun(
  client: Client,
  { workflowId, runId: first }: DueCommand,
): Promise<string | undefined> {
  try {
    const { status, runId, raw } = await client.workflow.getHandle(workflowId).describe()
    const isOurs = (raw.workflowExecutionInfo?.firstRunId || runId) === first
    return isOurs && status.name === 'RUNNING' ? runId : undefined
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

const startCommands: Partial<Record<StartType, StartCommand<StartInput, object>>> = {
  release: startRelease as StartCommand<StartInput, object>,
  retrain: startRetraining,
  batchPredict: startBatch as StartCommand<StartInput, object>,
}

/** After these errors, the workflow may or may not have been started. */
const inconclusive = ['temporal_unavailable', 'postgres_unavailable', 'deadline_exceeded'] as const

/** Runs the use case of a stored start and stores its result. Throws when it must be retried. */
async function deliverStart(deps: CommandDeps, start: DueStart): Promise<'started' | 'refused'> {
  const { store } = deps
  const { id, kind, input, reason, at: recordedAt } = start
  const useCase = startCommands[kind]
  if (useCase === undefined) throw new Error(`a start of ${kind} is not delivered later`)
  try {
    const actor = await actorOf(store, useCase, start)
    const request = id.slice('cmd_'.length)
    const asked = { ...(input as StartInput), reason }
    const result = await useCase.run(depsOf(deps, actor), actor, asked, { id: request, recordedAt })
    const { message: text } = result as { message?: string }
    await answerStart(store, start, { accepted: true, message: text || 'started', started: toWire(result) })
    return 'started'
  } catch (error) {
    if (!isError(error) || inconclusive.some((code) => isError(error, code))) throw error
    await answerStart(store, start, { accepted: false, message: error.message })
    return 'refused'
  }
}

/** Throws `forbidden` when the key was revoked or has lost the role, or when the command is too old. */
async function actorOf(
  store: Store,
  { roles }: StartCommand<StartInput, object>,
  { model, actor: name, keyId, isStale }: DueStart,
): Promise<Actor> {
  if (isStale) throw new DomainError('forbidden', 'the command waited for more than a day')
  const key = (await findActiveKeys(store)).find(({ id }) => id === keyId)
  if (key === undefined) throw new DomainError('forbidden', `the key of ${name} is no longer valid`)
  const actor = actorOfKey(key)
  requireRole(actor, roles, model)
  return actor
}
