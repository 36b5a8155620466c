/** Queues releases behind the open one and records how each queue entry ends. */
import { lostBasis } from '../../domain/release/approval.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { findReleaseBasis } from '../../store/release/releases.ts'
import { isError } from '../../domain/errors.ts'
import { queuePolicy } from '../../domain/release/queue-policy.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import { getModel } from '../../store/registry/models.ts'
import {
  endQueued,
  findQueued,
  findQueueEntry,
  insertQueued,
  type QueuedRelease,
} from '../../store/release/release-queue.ts'
import { findRetrained } from '../../store/training/retrainings.ts'
import type { ReleaseRequest } from '../../workflows/messages.ts'
import type { Deps } from '../deps.ts'

/** Queues the release of a retraining once. Returns the reason when the policy does not allow it. */
export const enqueueRelease =
  ({ store, log }: Deps) =>
  async (request: ReleaseRequest): Promise<{ id: string } | { refused: string }> => {
    const { model, version, requestedBy, policy, retraining = '' } = request
    if ((await findRetrained(store, { model, version, requestedBy, policy, retraining })) === undefined)
      return { refused: 'no recent retraining registered this version for this requester and policy' }
    const used = policy ?? (await getModel(store, model)).definition.release
    const over = queuePolicy({ policy: used, byPerson: false, hotfix: false })
    if (over === 'refuse') return { refused: 'its policy does not queue releases' }
    // Derived from the run, because the entry may already have started when the activity is retried.
    const own = `que_${retraining.split('/').at(-1)!.replaceAll('-', '')}` as const
    const entry = { id: own, model, version, requestedBy, preemption: over, policy }
    const queued = await store
      .transaction(async (database) => (await findQueueEntry(database, own)) ?? insertQueued(database, entry))
      .catch((error: unknown) => {
        if (isError(error, 'release_in_progress')) return { refused: error.message }
        throw error
      })
    if ('refused' in queued) return queued
    log.info({ model, version, waiting: queued.id, over }, 'release queued')
    return { id: queued.id }
  }

export const nextQueuedRelease =
  ({ store }: Deps) =>
  async ({ model }: { model: string }): Promise<QueuedRelease | null> =>
    (await store.transaction((database) => findQueued(database, model))) ?? null

export const markDequeued =
  ({ store, log }: Deps) =>
  async ({ waiting, releaseId }: { waiting: QueuedRelease; releaseId: string }): Promise<void> => {
    const { id, model, version, requestedBy: actor, hotfixReason: hotfix = null } = waiting
    await store.transaction(async (database) => {
      const message = 'the release has started'
      if (!(await endQueued(database, { id, state: 'started', message, releaseId }))) return
      const detail = { waiting: id, version, hotfix }
      await appendAudit(database, { actor, action: 'release.turn', subject: releaseId, model, detail })
    })
    log.info({ model, version, waiting: id, release: releaseId }, 'queued release started')
  }

/** Why the release can never be approved; null while it can. */
export const findLostBasis =
  ({ store }: Pick<Deps, 'store'>) =>
  async (state: ReleaseState): Promise<string | null> =>
    lostBasis(state, await findReleaseBasis(store, state)) ?? null
