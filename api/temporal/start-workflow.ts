/** Starts workflows for the API. A retried request gets the run that it started, because Temporal deduplicates by request id. */
import type { DomainError } from '../../domain/errors.ts'
import { callTimeoutMs, withRequestId, type TemporalClient } from './client.ts'
import { isAlreadyStarted } from './errors.ts'

export interface WorkflowStart {
  /** The name of the workflow type. */
  type: string
  workflowId: string
  request: object
  /** The id of the command. Without it, a repeated request starts another run. */
  requestId?: string
  /** Joins an open run of this workflow id. By default, an open run is a conflict. */
  joinsOpenRun?: boolean
}

/** Returns the id of the first run, or undefined when another run of this workflow id is open. */
export async function startUnlessOpen(
  temporal: TemporalClient,
  { type, workflowId, request, requestId, joinsOpenRun = false }: WorkflowStart,
): Promise<string | undefined> {
  try {
    const handle = await temporal.call(callTimeoutMs, (client) =>
      client.workflow.start(type, {
        workflowId,
        taskQueue: temporal.taskQueue,
        args: [request],
        workflowIdConflictPolicy: joinsOpenRun ? 'USE_EXISTING' : 'FAIL',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        ...(requestId !== undefined && withRequestId(requestId)),
      }),
    )
    return handle.firstExecutionRunId
  } catch (error) {
    if (isAlreadyStarted(error)) return undefined
    throw error
  }
}

/** Returns the id of the first run. Throws the error of `conflict` when another run of this workflow id is open. */
export async function startWorkflow(
  temporal: TemporalClient,
  start: WorkflowStart & { conflict: () => DomainError },
): Promise<string> {
  const runId = await startUnlessOpen(temporal, start)
  if (runId === undefined) throw start.conflict()
  return runId
}
