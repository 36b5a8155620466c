/** Gives a worker that has just begun something to do, so that nobody waits for what takes long only once (workflows/warm-up.ts). */
import { randomUUID } from 'node:crypto'
import type { Config } from '../../temporal.config.ts'

/** The part of Temporal's service that starts workflows. */
export interface StartService {
  startWorkflowExecution(request: {
    namespace: string
    workflowId: string
    requestId: string
    workflowType: { name: string }
    taskQueue: { name: string }
  }): Promise<unknown>
}

/** Where several workers share a queue another one may get it: that one was as new, or it harms nobody. */
export async function warmUpWorker(
  service: StartService,
  { temporal, taskQueues }: Pick<Config, 'temporal' | 'taskQueues'>,
): Promise<void> {
  await service.startWorkflowExecution({
    namespace: temporal.namespace,
    workflowId: `ready/${randomUUID()}`,
    requestId: randomUUID(),
    workflowType: { name: 'warmUp' },
    taskQueue: { name: taskQueues.control },
  })
}
