/**
 * Creates the coming partitions of the prediction log, deletes expired rows and keeps artifacts within their budget, so that the
 * disk does not fill. Runs every hour; one missed run does no harm.
 */
import { proxyActivities } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/activities.ts'
import type { RetentionOutcome } from './messages.ts'

const { createLogPartitions, deleteExpired, collectArtifacts } = proxyActivities<
  Pick<ControlActivities, 'createLogPartitions' | 'deleteExpired' | 'collectArtifacts'>
>({
  startToCloseTimeout: '30 min',
  heartbeatTimeout: '30 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '1 min', maximumAttempts: 20 },
})

export async function retention(): Promise<RetentionOutcome> {
  // Partitions first: predictions need them at midnight, while deletions may be late.
  const daysMade = await createLogPartitions()
  const forgotten = await deleteExpired()
  return { daysMade, ...forgotten, artifacts: await collectArtifacts() }
}
