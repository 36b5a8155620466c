/**
 * Checks once what the triggers of a model wait for, and starts what they have fired. The schedule of the model's triggers runs it, the
 * schedule of a batch when the batch is due, and a webhook at once. All state is in the database, so a lost run costs one interval.
 */
import {
  ParentClosePolicy,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import type { ControlActivities } from '../../activities/activities.ts'
import type { batchPredict } from '../batch.ts'
import { batchWorkflowId } from '../messages.ts'
import { field, optional, parseInput } from '../input/parse-input.ts'
import { startRetrainChild, startUnlessRunning } from '../start-child.ts'
import type { FireTriggersOutcome, FireTriggersRequest } from './messages.ts'

const { lookAtTriggers } = proxyActivities<Pick<ControlActivities, 'lookAtTriggers'>>({
  startToCloseTimeout: '1 min',
  // Detects a dead worker.
  heartbeatTimeout: '5 s',
  // The schedule starts the next attempt.
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '10 s', maximumAttempts: 5 },
})

export async function fireTriggers(given: FireTriggersRequest): Promise<FireTriggersOutcome> {
  const request = parseInput<FireTriggersRequest>(given, {
    model: field.name,
    batch: optional(field.name),
  })
  const { model } = request
  upsertSearchAttributes({ Model: [model] })
  const { start, waiting, problems, batches } = await lookAtTriggers(request)
  const started = start && (await startRetrainChild({ model, order: start }))
  for (const order of batches)
    await startUnlessRunning<typeof batchPredict>('batchPredict', {
      workflowId: batchWorkflowId(order),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [{ model, order }],
    })
  const message = [
    started === undefined ? `${waiting} waiting` : `started ${start}, ${waiting - 1} waiting`,
    ...batches.map((id) => `scores ${id}`),
    ...problems,
  ].join('; ')
  setCurrentDetails(message)
  return { model, message, started: started === undefined ? undefined : start }
}
