/**
 * Watches one model for as long as it exists, window by window. It tells people and may ask for a retraining; releasing is not
 * its business. It remembers nothing but the last window it has dealt with, so that it can begin anew at any time.
 */
import {
  ParentClosePolicy,
  continueAsNew,
  proxyActivities,
  setCurrentDetails,
  sleep,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control-activities.ts'
import type { Trigger } from '../domain/monitoring/retraining-triggers.ts'
import { monitorRequester, retrainWorkflowId, type MonitorRequest, type RetrainRequest } from './messages.ts'
import { whereVersioned } from './worker-versioning.ts'

/** Tried for as long as it takes: a window that was not looked at would be a hole in what is known of the model. */
const { monitorModel } = proxyActivities<Pick<ControlActivities, 'monitorModel'>>({
  startToCloseTimeout: '10 min',
  heartbeatTimeout: '10 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '1 min' },
})

/** After so many windows the history begins anew; each leaves some fifteen events. */
const windowsARun = 200
/** Even the longest windows are asked for anew within this, in case a model file has shortened them. */
const longestSleepMs = 3_600_000

// It never ends, so it goes on with the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), monitor)

export async function monitor({ model, afterMs }: MonitorRequest): Promise<void> {
  upsertSearchAttributes({ Model: [model] })
  let after = afterMs
  for (let windows = 0; windows < windowsARun && !workflowInfo().continueAsNewSuggested; windows++) {
    const seen = await monitorModel({ model, afterMs: after })
    if (seen.gone) return
    after = seen.toMs
    setCurrentDetails(seen.summary)
    if (seen.ask !== undefined) await askForRetraining(seen.ask)
    if (seen.waitMs > 0) await sleep(Math.min(seen.waitMs, longestSleepMs))
  }
  await continueAsNew<typeof monitor>({ model, afterMs: after })
}

/** Started and not waited for. One that runs already is answer enough: what still holds then will be found again. */
async function askForRetraining({ model, reason, dedupeKey, message, evidence }: Trigger): Promise<void> {
  const request: RetrainRequest = {
    model,
    reason,
    dedupeKey,
    requestedBy: monitorRequester(model),
    evidence: { ...evidence, message },
  }
  try {
    await startChild('retrain', {
      workflowId: retrainWorkflowId(model),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [request],
    })
  } catch (error) {
    // The error's class is not among what a workflow may import.
    if (!(error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')) throw error
  }
}
