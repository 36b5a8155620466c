/** Queries and cancels running workflows for the API. */
import type { QueryDefinition } from '@temporalio/client'
import { DomainError } from '../../domain/errors.ts'
import { callTimeoutMs, type TemporalClient } from './client.ts'
import { isNotFound } from './errors.ts'

export interface WorkflowRun {
  workflowId: string
  /** The run to address. Default: the newest. */
  runId?: string
}

/** Requests the cancellation of `what`; the run records its own end. Throws `command_refused` when it is not running. */
export async function cancelWorkflow(
  temporal: Pick<TemporalClient, 'call'>,
  { workflowId, runId }: WorkflowRun,
  what: string,
): Promise<void> {
  try {
    await temporal.call(callTimeoutMs, (client) => client.workflow.getHandle(workflowId, runId).cancel())
  } catch (error) {
    if (isNotFound(error)) throw new DomainError('command_refused', `${what} is not running`)
    throw error
  }
}

/** Queries a workflow; undefined when it does not respond. */
export const queryWorkflow = <Answer>(
  temporal: Pick<TemporalClient, 'call'>,
  { workflowId, runId }: WorkflowRun,
  query: QueryDefinition<Answer>,
): Promise<Answer | undefined> =>
  temporal
    .call<Answer>(callTimeoutMs, (client) => client.workflow.getHandle(workflowId, runId).query(query))
    .catch(() => undefined)
