/** A batch prediction: bound to the champion at its start, answered on a training worker, and written down however it ends. */
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
  setCurrentDetails(`rows of ${model} are answered by ${version}`)
  try {
    const { rows, refused, rowsPerSecond } = await training(trainQueue).scoreBatch({ id })
    const message = `${rows} rows answered by ${version}, ${refused} of them refused, ${rowsPerSecond} rows/s`
    setCurrentDetails(message)
    return { status: 'done', message, version }
  } catch (error) {
    const message = isCancellation(error) ? 'the batch was cancelled' : messageOf(error)
    await CancellationScope.nonCancellable(() => recording.failBatch({ id, message }))
    return { status: 'failed', message, version }
  }
}
