/** Starts the warm-up workflow on a new worker, so that the first real task does not wait for compilation and connections. */
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

/** Workers that share a queue may take each other's warm-up task, which does no harm. */
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
