/**
 * Waits for the object store where a result would be lost otherwise: a training, hours long, would begin again because the store was away at
 * its end.
 */
import { Context } from '@temporalio/activity'
import { isError } from '../../domain/errors.ts'
import type { Deps } from '../deps.ts'

const pauseMs = { first: 500, most: 15_000 }

/** Repeats `work` until the store takes it or the activity is cancelled, whose heartbeats must go on meanwhile. */
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

/** For what is worth no wait: a checkpoint that is not stored costs its epochs when this machine is lost too. */
export async function unlessAway(log: Deps['log'], work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!isError(error, 'object_store_unavailable')) throw error
    log.warn({ error: error.message }, 'a checkpoint is not in the object store')
  }
}
