/** Runs the stages of an erasure in order and retries each without limit, because the law requires the erasure to finish. */
import {
  proxyActivities,
  setCurrentDetails,
  setWorkflowOptions,
  upsertSearchAttributes,
} from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import type { EraseRequest } from './messages.ts'
import { field, parseInput } from './input/parse-input.ts'
import { whereVersioned } from './worker-versioning.ts'

const { eraseStage } = proxyActivities<Pick<ControlActivities, 'eraseStage'>>({
  startToCloseTimeout: '1 day',
  heartbeatTimeout: '30 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '5 min' },
})

// It may last for days, so it follows the newest build; each stage is one activity.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), erase)

export async function erase(given: EraseRequest): Promise<void> {
  const { id } = parseInput<EraseRequest>(given, { id: field.name })
  upsertSearchAttributes({ Outcome: ['open'] })
  for (;;) {
    const stage = await eraseStage({ id })
    setCurrentDetails(`${id}: ${stage}`)
    if (stage !== 'done' && stage !== 'nothing_found') continue
    upsertSearchAttributes({ Outcome: [stage] })
    return
  }
}
