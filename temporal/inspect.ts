/** Reads from Temporal what runs, what is paused and what cannot go on. Visibility lags, so an absence is confirmed by a direct read. */
import { ScheduleNotFoundError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import type { WorkflowSchedule } from './schedules.ts'
import type { StandingWorkflow } from './standing-workflows.ts'

/** The ids of the open workflows of a task queue. */
export async function listOpenWorkflows(client: Client, taskQueue: string): Promise<string[]> {
  const query = `ExecutionStatus = "Running" and TaskQueue = "${taskQueue}"`
  const ids: string[] = []
  for await (const { workflowId } of client.workflow.list({ query })) ids.push(workflowId)
  return ids
}

export async function isRunning(client: Client, workflowId: string): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING'
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}

/** The wanted workflows that do not run. */
export async function findMissingWorkflows<T extends Pick<StandingWorkflow, 'workflowId'>>(
  client: Client,
  wanted: readonly T[],
  open: readonly string[],
): Promise<T[]> {
  const listed = new Set(open)
  const missing: T[] = []
  for (const each of wanted)
    if (!listed.has(each.workflowId) && !(await isRunning(client, each.workflowId))) missing.push(each)
  return missing
}

/** Schedules of removed model files are paused with this note. */
export const removedNote = 'model file removed'

export interface ScheduleStates {
  missing: WorkflowSchedule[]
  /** By an operator. */
  paused: { scheduleId: string; note: string }[]
}

export async function inspectSchedules(
  client: Client,
  wanted: readonly WorkflowSchedule[],
): Promise<ScheduleStates> {
  const listed = new Map<string, { paused: boolean; note?: string }>()
  for await (const { scheduleId, state } of client.schedule.list()) listed.set(scheduleId, state)
  const states: ScheduleStates = { missing: [], paused: [] }
  for (const each of wanted) {
    const { scheduleId } = each
    const state = listed.get(scheduleId) ?? (await describeSchedule(client, scheduleId))
    if (state === undefined) states.missing.push(each)
    else if (state.paused && state.note !== removedNote)
      states.paused.push({ scheduleId, note: state.note ?? '' })
  }
  return states
}

async function describeSchedule(client: Client, scheduleId: string) {
  try {
    return (await client.schedule.getHandle(scheduleId).describe()).state
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return undefined
    throw error
  }
}

export interface BlockedWorkflow {
  workflowId: string
  runId: string
  /** Attempts of the workflow task that fails. */
  attempts: number
  cause: string
}

/** A restarted or frozen worker costs one or two attempts; the pauses between further ones grow to ten minutes. */
const minAttempts = 4

/** Those of the workflows whose newest task fails again and again: they answer no signal, update or query. */
export async function findBlocked(
  client: Client,
  workflowIds: readonly string[],
): Promise<BlockedWorkflow[]> {
  const blocked: BlockedWorkflow[] = []
  for (const workflowId of workflowIds) {
    const described = await client.workflow
      .getHandle(workflowId)
      .describe()
      .catch((error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return undefined
        throw error
      })
    const attempts = described?.raw.pendingWorkflowTask?.attempt ?? 0
    if (described?.status.name !== 'RUNNING' || attempts < minAttempts) continue
    const { runId } = described
    blocked.push({ workflowId, runId, attempts, cause: await causeOf(client, { workflowId, runId }) })
  }
  return blocked
}

/** Temporal records the first failed attempt alone. */
async function causeOf(client: Client, execution: { workflowId: string; runId: string }): Promise<string> {
  const { history } = await client.workflowService.getWorkflowExecutionHistoryReverse({
    namespace: client.options.namespace,
    execution,
    maximumPageSize: 10,
  })
  const failed = history?.events?.find((event) => event.workflowTaskFailedEventAttributes != null)
  const message = failed?.workflowTaskFailedEventAttributes?.failure?.message ?? ''
  return message === '' ? 'no worker completes it' : message
}
