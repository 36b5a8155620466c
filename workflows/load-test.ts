/** Tests a version under load on a training worker, which takes one task at a time. The version keeps the result. */
import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow'
import type { LoadTestRequest } from './messages.ts'
import { short, training } from './activities.ts'
import { field, parseInput } from './input/parse-input.ts'

export async function loadTest(given: LoadTestRequest): Promise<{ message: string }> {
  const request = parseInput<LoadTestRequest>(given, { order: field.name })
  const { model, version, trainQueue } = await short.openLoadTest(request)
  upsertSearchAttributes({ Model: [model] })
  setCurrentDetails(`load test of ${version}`)
  const { message } = await training(trainQueue).testLoad(request)
  setCurrentDetails(message)
  return { message }
}
