/**
 * Reads the state of workflows and schedules from Temporal: running, paused and blocked. Visibility lags, so an absence is confirmed by a
 * direct read.
 */
import { ScheduleNotFoundError, WorkflowNotFoundError, type Client } from '@temporalio/client'
import { inParallel } from './in-parallel.ts'
import { callMs, readSchedules, type WorkflowSchedule } from './schedules.ts'
import type { PermanentWorkflow } from './permanent-workflows.ts'
import { messageOfFailure } from './payload-codec.ts'

/** An open run as Temporal lists it. */
export interface OpenWorkflow {
  workflowId: string
  runId: string
  taskQueue: string
  startedMs: number
}

/**
 * Lists the open workflows of a task queue, and those of any task queue under ids with one of these prefixes. Skips their memos, which may
 * have an unknown encoding.
 */
export async function listOpenExecutions(
  client: Client,
  taskQueue: string,
  prefixes: readonly string[],
): Promise<OpenWorkflow[]> {
  const { namespace } = client.options
  const places = [
    `TaskQueue = "${taskQueue}"`,
    ...prefixes.map((prefix) => `WorkflowId STARTS_WITH "${prefix}/"`),
  ]
  const query = `ExecutionStatus = "Running" and (${places.join(' or ')})`
  const open: OpenWorkflow[] = []
  let nextPageToken: Uint8Array | undefined
  do {
    const page = await soon(client, () =>
      client.workflowService.listWorkflowExecutions({ namespace, query, pageSize, nextPageToken }),
    )
    for (const { execution, taskQueue: queue, startTime } of page.executions ?? [])
      open.push({
        workflowId: execution?.workflowId ?? '',
        runId: execution?.runId ?? '',
        taskQueue: queue ?? '',
        startedMs: Number(startTime?.seconds ?? 0) * 1_000,
      })
    nextPageToken = page.nextPageToken ?? undefined
  } while (nextPageToken !== undefined && nextPageToken.length > 0)
  return open
}

/** Returns the ids of the open workflows of a task queue. */
export const listOpenWorkflows = async (client: Client, taskQueue: string): Promise<string[]> =>
  (await listOpenExecutions(client, taskQueue, [])).map(({ workflowId }) => workflowId)

const pageSize = 1_000
const soon = <T>(client: Client, call: () => Promise<T>): Promise<T> =>
  client.withDeadline(Date.now() + callMs, call)

export async function isRunning(client: Client, workflowId: string): Promise<boolean> {
  try {
    const { status } = await soon(client, () => client.workflow.getHandle(workflowId).describe())
    return status.name === 'RUNNING'
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false
    throw error
  }
}

/** The part of Temporal's service that describes runs; clients and workers both have it. */
interface ExecutionService {
  describeWorkflowExecution(request: {
    namespace: string
    execution: { workflowId: string; runId?: string }
  }): Promise<{
    workflowExecutionInfo?: {
      status?: number | null
      firstRunId?: string | null
      execution?: { runId?: string | null } | null
    } | null
  }>
}

/** gRPC status NOT_FOUND. */
const notFound = 5
/** `WORKFLOW_EXECUTION_STATUS_RUNNING` of Temporal's protocol. */
const runningStatus = 1

/** Asks for the newest run under a workflow id, or for the given one; undefined when Temporal has none. */
export const describeRunIn =
  (service: ExecutionService, namespace: string) =>
  async (execution: {
    workflowId: string
    runId?: string
  }): Promise<{ firstRunId: string; running: boolean } | undefined> => {
    const described = await service
      .describeWorkflowExecution({ namespace, execution })
      .catch((error: { code?: unknown }) => {
        if (error.code === notFound) return undefined
        throw error
      })
    const info = described?.workflowExecutionInfo
    if (!info) return undefined
    return {
      firstRunId: info.firstRunId || (info.execution?.runId ?? ''),
      running: info.status === runningStatus,
    }
  }

/** Returns the wanted workflows that are not running. */
export async function findMissingWorkflows<T extends Pick<PermanentWorkflow, 'workflowId'>>(
  client: Client,
  expected: readonly T[],
  open: readonly string[],
): Promise<T[]> {
  const listed = new Set(open)
  const unlisted = expected.filter(({ workflowId }) => !listed.has(workflowId))
  const running = await inParallel(unlisted, ({ workflowId }) => isRunning(client, workflowId))
  return unlisted.filter((_, place) => running[place] === false)
}

/** Schedules of removed model files are paused with this note. */
export const removedNote = 'model file removed'

export interface ScheduleStates {
  missing: WorkflowSchedule[]
  /** Paused by an operator. */
  paused: { scheduleId: string; note: string }[]
}

export async function inspectSchedules(
  client: Client,
  expected: readonly WorkflowSchedule[],
): Promise<ScheduleStates> {
  const listed = await readSchedules(client)
  const states: ScheduleStates = { missing: [], paused: [] }
  await inParallel(expected, async (each) => {
    const { scheduleId } = each
    const state = listed.get(scheduleId) ?? (await describeSchedule(client, scheduleId))
    if (state === undefined) states.missing.push(each)
    else if (state.paused && state.note !== removedNote)
      states.paused.push({ scheduleId, note: state.note ?? '' })
  })
  return states
}

async function describeSchedule(client: Client, scheduleId: string) {
  try {
    return (await soon(client, () => client.schedule.getHandle(scheduleId).describe())).state
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return undefined
    throw error
  }
}

export interface BlockedWorkflow {
  workflowId: string
  runId: string
  /** The number of failed attempts of the workflow task. */
  attempts: number
  cause: string
}

/** A restarted or frozen worker causes one or two failed attempts; the backoff between further ones grows to ten minutes. */
const minAttempts = 4

/** Returns the workflows whose newest task fails repeatedly. They process no signal, update or query. */
export async function findBlocked(
  client: Client,
  workflowIds: readonly string[],
): Promise<BlockedWorkflow[]> {
  const found = await inParallel(workflowIds, async (workflowId) => {
    const described = await soon(client, () => client.workflow.getHandle(workflowId).describe()).catch(
      (error: unknown) => {
        if (error instanceof WorkflowNotFoundError) return undefined
        throw error
      },
    )
    const attempts = described?.raw.pendingWorkflowTask?.attempt ?? 0
    if (described?.status.name !== 'RUNNING' || attempts < minAttempts) return []
    const { runId } = described
    return [{ workflowId, runId, attempts, cause: await causeOf(client, { workflowId, runId }) }]
  })
  return found.flat()
}

/** Returns the cause of the failure. Temporal records only the first failed attempt. */
async function causeOf(client: Client, execution: { workflowId: string; runId: string }): Promise<string> {
  const { history } = await soon(client, () =>
    client.workflowService.getWorkflowExecutionHistoryReverse({
      namespace: client.options.namespace,
      execution,
      maximumPageSize: 10,
    }),
  )
  const failed = history?.events?.find((event) => event.workflowTaskFailedEventAttributes != null)
  const { failure } = failed?.workflowTaskFailedEventAttributes ?? {}
  const { payloadCodecs } = client.options.loadedDataConverter
  const message = failure ? await messageOfFailure(failure, payloadCodecs) : ''
  return message === '' ? 'no worker completes it' : message
}
