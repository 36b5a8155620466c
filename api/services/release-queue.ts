/** Reads and cancels queued releases, and wakes the queue of a model. */
import { DomainError, requireFound } from '../../domain/errors.ts'
import * as schema from '../../domain/schema.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { endQueued, findQueueEntry, type QueuedRelease } from '../../store/release/release-queue.ts'
import { queueChangedSignal, queueWorkflowId } from '../../workflows/messages.ts'
import type { Actor } from '../auth/authentication.ts'
import type { CommandDeps } from '../deps.ts'
import { callTimeoutMs } from '../temporal/client.ts'

/** Queue ids differ from release ids; a queued release has no workflow. */
export const isQueueId = (id: string): boolean => id.startsWith('que_')

export const queuedRelease = schema.record(
  {
    queueId: schema.text,
    model: schema.text,
    version: schema.text,
    requestedBy: schema.text,
    preemption: schema.textOf<QueuedRelease['preemption']>(),
    state: schema.textOf<QueuedRelease['state']>(),
    message: schema.text,
    at: schema.time,
    until: schema.time,
  },
  { hotfix: schema.text, release: schema.text, endedAt: schema.time },
)
export type QueuedSummary = schema.TypeOf<typeof queuedRelease>

export const queuedSummary = ({
  id,
  hotfixReason,
  releaseId,
  policy: _policy,
  ...queued
}: QueuedRelease): QueuedSummary => ({ ...queued, queueId: id, hotfix: hotfixReason, release: releaseId })

/** Notifies the queue of the model. The queue reads its entries from the database, so a lost notification only delays them. */
export async function wakeQueue({ temporal }: CommandDeps, model: string): Promise<void> {
  await temporal.call(callTimeoutMs, (client) =>
    client.workflow.signalWithStart('releaseQueue', {
      workflowId: queueWorkflowId(model),
      taskQueue: temporal.taskQueue,
      args: [{ model }],
      signal: queueChangedSignal,
      signalArgs: [],
    }),
  )
}

export interface CancelQueuedInput {
  id: string
  reason?: string
}

/** Cancels a queued release. Throws `release_not_found`, and `command_refused` when it is no longer queued. */
export async function cancelQueued(
  { store, log }: CommandDeps,
  actor: Actor,
  { id, reason }: CancelQueuedInput,
): Promise<{ release: string; accepted: true; stage: 'ended'; message: string }> {
  const named = { what: 'queued release', id, code: 'release_not_found' } as const
  const queued = requireFound(await findQueueEntry(store, id), named)
  const { model, version } = queued
  const message = `aborted by ${actor.name}${reason === undefined ? '' : `: ${reason}`}`
  const isCancelled = await store.transaction(async (database) => {
    const isMine = await endQueued(database, { id, state: 'refused', message })
    if (isMine)
      await appendAudit(database, {
        actor: actor.name,
        action: 'release.abort',
        subject: id,
        model,
        detail: { version, accepted: true, reason: reason ?? null },
      })
    return isMine
  })
  if (!isCancelled) {
    const cause = queued.message === '' ? '' : `: ${queued.message}`
    throw new DomainError(
      'command_refused',
      `${version} is no longer queued, it is ${queued.state}${cause}`,
      queued.releaseId === undefined ? {} : { release: queued.releaseId },
    )
  }
  log.info({ queued: id, model, version, by: actor.name }, 'queued release cancelled')
  return { release: id, accepted: true, stage: 'ended', message }
}
