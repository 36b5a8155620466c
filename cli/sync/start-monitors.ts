/** Starts the monitor workflows and the alert dispatch workflow unless they run. */
import { WorkflowIdConflictPolicy, type Client } from '@temporalio/client'
import { alertsWorkflowId, monitorWorkflowId, type MonitorRequest } from '../../workflows/messages.ts'

export async function startMonitor(client: Client, model: string, taskQueue: string): Promise<void> {
  await client.workflow.start('monitor', {
    workflowId: monitorWorkflowId(model),
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
    taskQueue,
    args: [{ model } satisfies MonitorRequest],
  })
}

export async function startAlerts(client: Client, taskQueue: string): Promise<void> {
  await client.workflow.start('alertDispatch', {
    workflowId: alertsWorkflowId,
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
    taskQueue,
  })
}
