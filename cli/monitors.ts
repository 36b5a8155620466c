/** Starts the monitor of a model, unless it runs. A model that nobody watches would be known to be broken by its callers first. */
import { WorkflowIdConflictPolicy, type Client } from '@temporalio/client'
import { monitorWorkflowId, type MonitorRequest } from '../workflows/contract.ts'

export async function startMonitor(client: Client, model: string, taskQueue: string): Promise<void> {
  const request: MonitorRequest = { model }
  await client.workflow.start('monitor', {
    workflowId: monitorWorkflowId(model),
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
    taskQueue,
    args: [request],
  })
}
