/** Ingests the new rows of one feature view. A schedule or a user starts it; at most one run of a view is open. */
import { ApplicationFailure, isCancellation, proxyActivities, setCurrentDetails } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import type { MaterialiseOutcome, MaterialiseRequest } from './messages.ts'
import { field, optional, parseInput } from './input/parse-input.ts'
import { errorCodeOf, messageOf } from './activities.ts'

const { materialiseView } = proxyActivities<Pick<ControlActivities, 'materialiseView'>>({
  startToCloseTimeout: '1 h',
  heartbeatTimeout: '30 s',
  // The schedule starts the next attempt.
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '30 s', maximumAttempts: 5 },
})
const { failView } = proxyActivities<Pick<ControlActivities, 'failView'>>({
  startToCloseTimeout: '20 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '30 s' },
})

export async function materialise(given: MaterialiseRequest): Promise<MaterialiseOutcome> {
  const request = parseInput<MaterialiseRequest>(given, {
    view: field.name,
    digest: optional(field.name),
    order: optional(field.name),
  })
  const { view, digest } = request
  try {
    const done = await materialiseView(request)
    const { read, added, late } = done
    const message = `${read} rows read, ${added} of them new, ${late} late`
    setCurrentDetails(message)
    return { view, message, ...done }
  } catch (error) {
    if (isCancellation(error)) throw error
    const message = messageOf(error)
    await failView({ view, digest })
    throw ApplicationFailure.nonRetryable(message, errorCodeOf(error) ?? 'internal')
  }
}
