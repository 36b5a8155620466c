/** Runs a batch prediction: binds it to the champion at its start, scores it on a training worker and records its end. */
import {
  CancellationScope,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control-activities.ts'
import type { BatchOutcome, BatchRequest } from './messages.ts'
import { messageOf } from './release/activities.ts'
import { training } from './retrain/activities.ts'

const recording = proxyActivities<Pick<ControlActivities, 'openBatch' | 'failBatch'>>({
  startToCloseTimeout: '20 s',
  retry: { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' },
})

export async function batchPredict(request: BatchRequest): Promise<BatchOutcome> {
  const { id, model } = request
  upsertSearchAttributes({ Model: [model] })
  const { version, trainQueue } = await recording.openBatch(request)
  setCurrentDetails(`${version} scores the rows of ${model}`)
  try {
    const { rows, refused, rowsPerSecond } = await training(trainQueue).scoreBatch({ id })
    const message = `${version} scored ${rows} rows, ${refused} of them refused, ${rowsPerSecond} rows/s`
    setCurrentDetails(message)
    return { status: 'done', message, version }
  } catch (error) {
    const message = isCancellation(error) ? 'the batch was cancelled' : messageOf(error)
    await CancellationScope.nonCancellable(() => recording.failBatch({ id, message }))
    return { status: 'failed', message, version }
  }
}
