/** Asks Temporal which open rows have a running workflow, so that only the rows of ended runs are closed. */
import { Context } from '@temporalio/activity'

/** The newest run under a workflow id; undefined when Temporal has none. */
export type FindRun = (workflowId: string) => Promise<{ firstRunId: string; running: boolean } | undefined>

/** The part of Temporal's service that describes runs; clients and workers both have it. */
export interface ExecutionService {
  describeWorkflowExecution(request: { namespace: string; execution: { workflowId: string } }): Promise<{
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

export function findRunIn(service: ExecutionService, namespace: string): FindRun {
  return async (workflowId) => {
    const described = await service
      .describeWorkflowExecution({ namespace, execution: { workflowId } })
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
}

/** A row with the first run of its workflow. Ids derived from a run lack its hyphens. */
export interface RowOfRun {
  workflowId: string
  runId: string
}

/** A reset or continued run still names the first run, which opened the row. */
export async function isCarried(findRun: FindRun, { workflowId, runId }: RowOfRun): Promise<boolean> {
  const run = await findRun(workflowId)
  return run !== undefined && run.running && bare(run.firstRunId) === bare(runId)
}

const bare = (runId: string): string => runId.replaceAll('-', '')

/**
 * The rows whose run has ended, for the activity that opens the next row. A stalled activity may resume after its own run has ended: it
 * then finds the open row of its successor, which stays. An ended run never resumes, so a late answer is still correct.
 */
export async function rowsOfEndedRuns<Row extends RowOfRun>(rows: readonly Row[]): Promise<Row[]> {
  if (rows.length === 0) return []
  const { client, info } = Context.current()
  const findRun = findRunIn(client.workflowService, info.workflowNamespace ?? '')
  const carried = await Promise.all(rows.map((row) => isCarried(findRun, row)))
  return rows.filter((_, index) => carried[index] === false)
}
