/**
 * Starts the queued release of a model when the open one has ended, and asks the open one to yield where the queue policy allows.
 * The queue entry is a row, so every step here may run twice.
 */
import {
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import { queueChangedSignal, releaseWorkflowId, supersedeSignal, type QueueRequest } from './messages.ts'
import { short } from './activities.ts'
import { field, parseInput } from './input/parse-input.ts'
import { startReleaseChild } from './start-child.ts'
import { whereVersioned } from './worker-versioning.ts'

/** Polling backoff. An ended release sends a signal, so polling is only a fallback. */
const pauseMs = { first: 100, max: 30_000 }

// It may wait for weeks, so it follows the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), releaseQueue)

export async function releaseQueue(given: QueueRequest): Promise<void> {
  const { model } = parseInput<QueueRequest>(given, { model: field.name })
  upsertSearchAttributes({ Model: [model] })
  let changed = true
  let pause = pauseMs.first
  let signalled = ''
  setHandler(queueChangedSignal, () => {
    changed = true
    pause = pauseMs.first
    signalled = ''
  })
  for (;;) {
    changed = false
    const waiting = await short.nextQueuedRelease({ model })
    if (waiting === null) {
      // A request stored just now has signalled this run, or starts the next one.
      if (changed) continue
      return
    }
    const { version, preemption } = waiting
    setCurrentDetails(`${version} is queued since ${waiting.at}`)
    const started = await startReleaseChild({ model, order: waiting.id })
    if (started !== undefined) {
      await short.awaitDequeued({ queued: waiting.id })
      continue
    }
    if (preemption !== 'none' && signalled !== waiting.id) {
      signalled = waiting.id
      // Fails when the open release has just ended; the next iteration then starts the queued one.
      await getExternalWorkflowHandle(releaseWorkflowId(model))
        .signal(supersedeSignal)
        .catch(() => {})
    }
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof releaseQueue>({ model })
    await condition(() => changed, pause)
    pause = Math.min(pause * 2, pauseMs.max)
  }
}
