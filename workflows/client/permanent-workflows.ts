/** Starts the workflows that must run as long as their subject exists, if they are not running. */
import { WorkflowIdConflictPolicy, type Client } from '@temporalio/client'
import {
  alertsWorkflowId,
  eraseWorkflowId,
  modelChangedSignal,
  monitorWorkflowId,
  queueWorkflowId,
  type EraseRequest,
  type MonitorRequest,
  type QueueRequest,
} from '../messages.ts'

export interface PermanentWorkflow {
  workflowId: string
  type: string
  request?: object
}

const dispatch: PermanentWorkflow = { workflowId: alertsWorkflowId, type: 'alertDispatch' }
const monitorOf = (model: string): PermanentWorkflow => ({
  workflowId: monitorWorkflowId(model),
  type: 'monitor',
  request: { model } satisfies MonitorRequest,
})

/** Returns the workflows that must run for these models, queued releases and open erasures. */
export const permanentWorkflows = (having: {
  models: readonly string[]
  /** Models with a queued release. */
  queued: readonly string[]
  erasures: readonly string[]
}): PermanentWorkflow[] => [
  dispatch,
  ...having.models.map(monitorOf),
  ...having.queued.map((model) => ({
    workflowId: queueWorkflowId(model),
    type: 'releaseQueue',
    request: { model } satisfies QueueRequest,
  })),
  ...having.erasures.map((id) => ({
    workflowId: eraseWorkflowId(id),
    type: 'erase',
    request: { id } satisfies EraseRequest,
  })),
]

export async function startPermanent(
  client: Client,
  { workflowId, type, request }: PermanentWorkflow,
  taskQueue: string,
): Promise<void> {
  await client.workflow.start(type, {
    workflowId,
    workflowIdConflictPolicy: WorkflowIdConflictPolicy.USE_EXISTING,
    taskQueue,
    args: request === undefined ? [] : [request],
  })
}

export const startMonitor = (client: Client, model: string, taskQueue: string): Promise<void> =>
  startPermanent(client, monitorOf(model), taskQueue)

/** Starts the monitor, or tells the running one that the model file has changed. */
export async function startOrWakeMonitor(client: Client, model: string, taskQueue: string): Promise<void> {
  const { workflowId, type, request } = monitorOf(model)
  await client.workflow.signalWithStart(type, {
    workflowId,
    taskQueue,
    args: [request],
    signal: modelChangedSignal,
    signalArgs: [],
  })
}

export const startAlerts = (client: Client, taskQueue: string): Promise<void> =>
  startPermanent(client, dispatch, taskQueue)
