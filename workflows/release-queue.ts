/**
 * Brings the release that waits to its start when the open one has ended, and asks the open one for its place where the waiting
 * one may take it. The place in the queue is a row; this only looks, asks and starts, and may do each of them twice.
 */
import {
  ParentClosePolicy,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setCurrentDetails,
  setHandler,
  startChild,
  upsertSearchAttributes,
  workflowInfo,
  setWorkflowOptions,
} from '@temporalio/workflow'
import {
  releaseIdOf,
  releaseWorkflowId,
  supersedeSignal,
  wakeSignal,
  type QueueRequest,
  type ReleaseRequest,
} from './messages.ts'
import { patient } from './release/activities.ts'
import { whereVersioned } from './worker-versioning.ts'

/** The first look after something has happened, and the last: an ended release tells, so that looking is only a stop behind it. */
const pauseMs = { first: 100, longest: 30_000 }

// It may wait for weeks, so it goes on with the newest build.
setWorkflowOptions(whereVersioned('AUTO_UPGRADE'), queue)

export async function queue({ model }: QueueRequest): Promise<void> {
  upsertSearchAttributes({ Model: [model] })
  let woken = true
  let pause = pauseMs.first
  let asked = ''
  setHandler(wakeSignal, () => {
    woken = true
    pause = pauseMs.first
    asked = ''
  })
  for (;;) {
    woken = false
    const waiting = await patient.nextQueuedRelease({ model })
    if (waiting === null) {
      // A request that has just been written has woken this run, or will start the next.
      if (woken) continue
      return
    }
    const { version, requestedBy, policy, hotfixReason, preemption: over } = waiting
    setCurrentDetails(`${version} waits for its turn since ${waiting.at}`)
    const releaseId = await start({
      model,
      version,
      requestedBy,
      turn: waiting.id,
      policy,
      hotfix: hotfixReason === undefined ? undefined : { reason: hotfixReason },
    })
    if (releaseId !== undefined) {
      await patient.markDequeued({ waiting, releaseId })
      continue
    }
    if (over !== 'none' && asked !== waiting.id) {
      asked = waiting.id
      // No release of this id: it has just ended, and the next look starts the waiting one.
      await getExternalWorkflowHandle(releaseWorkflowId(model))
        .signal(supersedeSignal)
        .catch(() => {})
    }
    if (workflowInfo().continueAsNewSuggested) await continueAsNew<typeof queue>({ model })
    await condition(() => woken, pause)
    pause = Math.min(pause * 2, pauseMs.longest)
  }
}

/** The id of the release; undefined while another one has the model's workflow id. */
async function start(request: ReleaseRequest): Promise<string | undefined> {
  try {
    const release = await startChild('release', {
      workflowId: releaseWorkflowId(request.model),
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [request],
    })
    return releaseIdOf(release.firstExecutionRunId)
  } catch (error) {
    // The error's class is not among what a workflow may import.
    if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError') return undefined
    throw error
  }
}
