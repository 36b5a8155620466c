/**
 * Whether those who could stop an activity can still reach it. A watch goes on by itself while Temporal is away, and also
 * while its workflow is tried in vain, by a build that does not fit its history: nobody could order its candidate back
 * then. So a candidate is exposed only while Temporal answers, and says that what has reached the workflow was taken in.
 */
import { Context } from '@temporalio/activity'

/** An answer counts for so long, and is waited for no longer than this. */
const freshMs = 900

export interface TemporalReachability {
  /** Whether Temporal has answered well within the last moment; asks it when it has not been asked. */
  check(): Promise<boolean>
}

export function createTemporalReachability(ask: () => Promise<unknown> = askTemporal): TemporalReachability {
  let answeredAt = -Infinity
  return {
    async check() {
      if (performance.now() - answeredAt <= freshMs) return true
      const askedAt = performance.now()
      const answered = await Promise.race([
        ask().then(
          () => true,
          () => false,
        ),
        new Promise<false>((resolve) => setTimeout(resolve, freshMs, false).unref()),
      ])
      if (answered) answeredAt = askedAt
      return answered
    },
  }
}

async function askTemporal(): Promise<void> {
  const { client, info } = Context.current()
  const { workflowNamespace: namespace, workflowExecution: execution } = info
  if (namespace === undefined || execution === undefined) throw new Error('no workflow has asked for this')
  const request = { namespace, execution }
  const { pendingWorkflowTask } = await client.workflowService.describeWorkflowExecution(request)
  // A task that is new, or under way for the first time, is no sign of trouble.
  if ((pendingWorkflowTask?.attempt ?? 0) > 1) throw new Error('the last task of the workflow has failed')
}
