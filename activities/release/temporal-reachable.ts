/**
 * Checks that the workflow of an activity can still be reached, so that a candidate is exposed only while a rollback could be ordered.
 * False while Temporal is unreachable or the workflow task keeps failing.
 */
import { Context } from '@temporalio/activity'
import { setTimeout as pause } from 'node:timers/promises'

/** How long a check stays valid; also its timeout. */
const freshMs = 900

/** Returns a check that tells whether Temporal answered recently, asking it when needed. */
export function createTemporalReachability(): () => Promise<boolean> {
  let answeredAt = -Infinity
  return async () => {
    const askedAt = performance.now()
    if (askedAt - answeredAt <= freshMs) return true
    const answer = askTemporal().then(
      () => true,
      () => false,
    )
    const answered = await Promise.race([answer, pause(freshMs, false, { ref: false })])
    if (answered) answeredAt = askedAt
    return answered
  }
}

async function askTemporal(): Promise<void> {
  const { client, info } = Context.current()
  const { workflowNamespace: namespace, workflowExecution: execution } = info
  if (namespace === undefined || execution === undefined) throw new Error('the activity has no workflow')
  const request = { namespace, execution }
  const { pendingWorkflowTask } = await client.workflowService.describeWorkflowExecution(request)
  // A new task or a first attempt is normal.
  if ((pendingWorkflowTask?.attempt ?? 0) > 1) throw new Error('the last task of the workflow has failed')
}
