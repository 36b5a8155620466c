/** Tells people of alerts for as long as the system lives. The work is one long activity, so that waiting leaves no history. */
import { continueAsNew, proxyActivities, setWorkflowOptions } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control-activities.ts'
import { whereVersioned } from './worker-versioning.ts'

const roundMs = 600_000
const roundsARun = 100

const { dispatchAlerts } = proxyActivities<Pick<ControlActivities, 'dispatchAlerts'>>({
  startToCloseTimeout: roundMs + 60_000,
  heartbeatTimeout: '10 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '10 s' },
})

// It never ends, so it goes on with the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), alerts)

export async function alerts(): Promise<void> {
  for (let round = 0; round < roundsARun; round++) await dispatchAlerts({ forMs: roundMs, everyMs: 5_000 })
  await continueAsNew<typeof alerts>()
}
