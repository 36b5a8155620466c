/**
 * Waits for the object store when a result would otherwise be lost: a training of several hours would start again because the store was
 * unreachable at its end.
 */
import { Context } from '@temporalio/activity'
import { isError } from '../../domain/errors.ts'
import type { Deps } from '../deps.ts'

const pauseMs = { first: 500, most: 15_000 }

/** Repeats `work` until the store accepts it or the activity is cancelled. The caller keeps sending heartbeats meanwhile. */
export async function untilStored(log: Deps['log'], what: string, work: () => Promise<void>): Promise<void> {
  const context = Context.current()
  for (let ms = pauseMs.first; ; ms = Math.min(ms * 2, pauseMs.most))
    try {
      return await work()
    } catch (error) {
      if (!isError(error, 'object_store_unavailable')) throw error
      log.warn({ error: error.message }, `${what} waits for the object store`)
      await context.sleep(ms * (0.5 + Math.random() / 2))
    }
}

/**
 * Skips the work while the object store is unreachable. A checkpoint that is not stored costs its epochs only if this machine is lost
 * too.
 */
export async function unlessAway(log: Deps['log'], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isError(error, 'object_store_unavailable')) throw error
    log.warn({ error: error.message }, 'a checkpoint is not in the object store')
  }
}
