/**
 * Makes the coming days of the prediction log, forgets what is too old and keeps the artifacts within their budget. Without it
 * the rows of a new day would have no partition of their own, and logs and artifacts would grow until the disk is full. It runs
 * every hour; each step can be left out once.
 */
import { patched, proxyActivities } from '@temporalio/workflow'
import type { ControlActivities } from '../activities/control-activities.ts'
import type { RetentionOutcome } from './messages.ts'

const { createLogPartitions, deleteExpired, collectArtifacts } = proxyActivities<
  Pick<ControlActivities, 'createLogPartitions' | 'deleteExpired' | 'collectArtifacts'>
>({
  startToCloseTimeout: '30 min',
  heartbeatTimeout: '30 s',
  retry: { initialInterval: '1 s', backoffCoefficient: 2, maximumInterval: '1 min', maximumAttempts: 20 },
})

export async function retention(): Promise<RetentionOutcome> {
  // First what must not be late; a row that is forgotten an hour later harms nobody.
  const daysMade = await createLogPartitions()
  const forgotten = await deleteExpired()
  if (!patched('collects-artifacts')) return { daysMade, ...forgotten }
  return { daysMade, ...forgotten, artifacts: await collectArtifacts() }
}
