/** Dispatches alert notifications for as long as the installation runs, in one long activity so that waiting adds no history. */
import { continueAsNew, proxyActivities, setWorkflowOptions } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import { whereVersioned } from './worker-versioning.ts'

const maxRounds = 100

const { dispatchAlerts } = proxyActivities<Pick<ControlActivities, 'dispatchAlerts'>>({
  // One activity dispatches for ten minutes.
  startToCloseTimeout: '11 min',
  heartbeatTimeout: '10 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '10 s' },
})

// It never ends, so it follows the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), alertDispatch)

export async function alertDispatch(): Promise<void> {
  for (let round = 0; round < maxRounds; round++) await dispatchAlerts()
  await continueAsNew<typeof alertDispatch>()
}
