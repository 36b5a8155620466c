/**
 * Monitors one model, window by window, for as long as the model exists: raises alerts and may start a retraining. All state is in the
 * database, so that it can continue as new at any time.
 */
import {
  condition,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import { modelChangedSignal, type MonitorRequest } from './messages.ts'
import { field, parseInput } from './input/parse-input.ts'
import { startRetrainChild } from './start-child.ts'
import { whereVersioned } from './worker-versioning.ts'

/** Retried without limit, because a skipped window would leave a gap in the model's record. */
const { monitorModel } = proxyActivities<Pick<ControlActivities, 'monitorModel'>>({
  startToCloseTimeout: '10 min',
  heartbeatTimeout: '10 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '1 min' },
})

/** Windows per run before it continues as new; each adds about fifteen events. */
const maxWindows = 200
/** Upper limit of one sleep. A shorter window in the model file takes effect by a signal; one that was lost costs an hour. */
const maxSleepMs = 3_600_000

// It never ends, so it follows the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), monitor)

export async function monitor(given: MonitorRequest): Promise<void> {
  const { model } = parseInput<MonitorRequest>(given, { model: field.name })
  upsertSearchAttributes({ Model: [model] })
  let changed = false
  setHandler(modelChangedSignal, () => {
    changed = true
  })
  for (let windows = 0; windows < maxWindows && !workflowInfo().continueAsNewSuggested; windows++) {
    changed = false
    const seen = await monitorModel({ model })
    if (seen.gone) return
    setCurrentDetails(seen.summary)
    // Its result is not awaited. While another one runs, the next window raises the trigger again if it still holds.
    if (seen.ask !== undefined) await startRetrainChild({ model, order: seen.ask.dedupeKey })
    if (seen.waitMs > 0) await condition(() => changed, Math.min(seen.waitMs, maxSleepMs))
  }
  await continueAsNew<typeof monitor>({ model })
}
