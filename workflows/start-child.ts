/** Starts child workflows that are unique per model. Reports a workflow id that another run holds instead of failing. */
import {
  ParentClosePolicy,
  getExternalWorkflowHandle,
  startChild,
  type ChildWorkflowHandle,
  type ChildWorkflowOptions,
  type Workflow,
} from '@temporalio/workflow'
import { releaseIdOf } from '../domain/release/state.ts'
import {
  queueChangedSignal,
  queueWorkflowId,
  releaseWorkflowId,
  retrainWorkflowId,
  type ReleaseOutcome,
  type ReleaseRequest,
  type RetrainOutcome,
  type RetrainRequest,
} from './messages.ts'

/** Undefined while another run holds the workflow id. */
export async function startUnlessRunning<Child extends Workflow>(
  type: string,
  options: ChildWorkflowOptions & { args: Parameters<Child> },
): Promise<ChildWorkflowHandle<Child> | undefined> {
  try {
    return await startChild<Child>(type, options as never)
  } catch (error) {
    // Workflow code may not import the class of this error.
    if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError') return undefined
    throw error
  }
}

type ReleaseWorkflow = (request: ReleaseRequest) => Promise<ReleaseOutcome>

/** Undefined while another release of the model is open. Outlives its parent unless another close policy is given. */
export async function startReleaseChild(
  request: ReleaseRequest,
  parentClosePolicy: ParentClosePolicy = ParentClosePolicy.ABANDON,
) {
  const child = await startUnlessRunning<ReleaseWorkflow>('release', {
    workflowId: releaseWorkflowId(request.model),
    parentClosePolicy,
    args: [request],
  })
  return child && { child, releaseId: releaseIdOf(child.firstExecutionRunId) }
}

type RetrainWorkflow = (request: RetrainRequest) => Promise<RetrainOutcome>

/** Undefined while another retraining of the model runs. Outlives its parent unless another close policy is given. */
export const startRetrainChild = (
  request: RetrainRequest,
  parentClosePolicy: ParentClosePolicy = ParentClosePolicy.ABANDON,
) =>
  startUnlessRunning<RetrainWorkflow>('retrain', {
    workflowId: retrainWorkflowId(request.model),
    parentClosePolicy,
    args: [request],
  })

/** Signals the release queue of the model. No queue runs while no release is queued, so a missing workflow is no error. */
export async function notifyQueue(model: string): Promise<void> {
  await getExternalWorkflowHandle(queueWorkflowId(model))
    .signal(queueChangedSignal)
    .catch(() => {})
}
