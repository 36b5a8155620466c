/** Runs a batch prediction: binds it to the champion at its start, scores it on a training worker and records its end. */
import {
  CancellationScope,
  isCancellation,
  setCurrentDetails,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import { notFoundText } from '../domain/model/batch-spec.ts'
import type { BatchOutcome, BatchRequest } from './messages.ts'
import { field, parseInput } from './input/parse-input.ts'
import { openRow } from './run-stages.ts'
import { short, training } from './activities.ts'

export async function batchPredict(given: BatchRequest): Promise<BatchOutcome> {
  const request = parseInput<BatchRequest>(given, { model: field.name, order: field.name })
  const { model } = request
  upsertSearchAttributes({ Model: [model] })
  const { id, version, trainQueue } = await openRow(() => short.openBatch(request))
  setCurrentDetails(`${version} scores the rows of ${model}`)
  try {
    const { rows, refused, rowsPerSecond, notFound } = await training(trainQueue).scoreBatch({ id })
    const message = `${version} scored ${rows} rows, ${refused} of them refused, ${rowsPerSecond} rows/s${notFoundText(notFound)}`
    setCurrentDetails(message)
    return { status: 'done', message, version }
  } catch (error) {
    const isCancelled = isCancellation(error)
    const { message } = await CancellationScope.nonCancellable(() => short.failBatch({ id, isCancelled }))
    return { status: 'failed', message, version }
  }
}
