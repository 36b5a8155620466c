/**
 * Makes the coming days of the prediction log and forgets what is too old. Without it the rows of a new day would have no
 * partition of their own, and a log would grow until the disk is full. It runs every hour; each step can be left out once.
 */
import { proxyActivities } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control.ts'
import type { RetentionOutcome } from './contract.ts'

const { makeLogDays, forgetOldRows } = proxyActivities<
  Pick<ControlActivities, 'makeLogDays' | 'forgetOldRows'>
>({
  startToCloseTimeout: '30 min',
  heartbeatTimeout: '30 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '1 min', maximumAttempts: 20 },
})

export async function retention(): Promise<RetentionOutcome> {
  // First what must not be late; a row that is forgotten an hour later harms nobody.
  const daysMade = await makeLogDays()
  return { daysMade, ...(await forgetOldRows()) }
}
