/** Queues releases behind the open one and records how each queue entry ends. */
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../domain/errors.ts'
import { queuePolicy } from '../../domain/release/queue-policy.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  findQueued,
  findQueueEntry,
  insertQueued,
  queuedIdOf,
  type QueuedRelease,
} from '../../store/release/release-queue.ts'
import { findRetrained } from '../../store/training/retrainings.ts'
import { recordFailure } from '../../store/training/runs.ts'
import type { Deps } from '../deps.ts'

/** Queues the release of the version that a retraining has registered, once; a refusal is stored with the retraining. */
export const enqueueRelease =
  ({ store, log }: Deps) =>
  async ({ retraining: id }: { retraining: string }): Promise<{ isQueued: boolean }> => {
    const refuse = async (message: string): Promise<{ isQueued: false }> => {
      await recordFailure(store, id, { message, code: 'release_in_progress' })
      return { isQueued: false }
    }
    const retrained = await findRetrained(store, id)
    if (retrained === undefined)
      return refuse('the retraining ended long ago, or an operator must release it')
    const { model, version, requestedBy, policy } = retrained
    const used = policy ?? (await getModel(store, model)).definition.release
    const over = queuePolicy({ policy: used, byPerson: false, hotfix: false })
    if (over === 'refuse') return refuse('its policy does not queue releases')
    const own = queuedIdOf(id)
    const entry = { id: own, model, version, requestedBy, preemption: over, policy }
    const queued = await store
      .transaction(async (database) => (await findQueueEntry(database, own)) ?? insertQueued(database, entry))
      .catch((error: unknown) => {
        if (isError(error, 'release_in_progress')) return { refused: error.message }
        throw error
      })
    if ('refused' in queued) return refuse(queued.refused)
    log.info({ model, version, waiting: queued.id, over }, 'release queued')
    return { isQueued: true }
  }

export const nextQueuedRelease =
  ({ store }: Deps) =>
  async ({ model }: { model: string }): Promise<QueuedRelease | null> =>
    (await store.transaction((database) => findQueued(database, model))) ?? null

/** Time limit for a started release to open or to be refused. It takes longer only if no worker is free. */
const takenMs = 10_000

/** Waits until the release of a queue entry has opened or was refused, which the opening stores. The queue looks again after that. */
export const awaitDequeued =
  ({ store }: Pick<Deps, 'store'>) =>
  async ({ queued }: { queued: string }): Promise<void> => {
    const deadlineMs = performance.now() + takenMs
    while ((await findQueueEntry(store, queued))?.state === 'waiting' && performance.now() < deadlineMs)
      await pause(50)
  }
