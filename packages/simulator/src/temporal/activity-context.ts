/** Provides the context of an activity: heartbeats, cancellation and the description of its workflow, over the links of its worker. */
import type { Context } from '@temporalio/activity'
import { CancelledFailure } from '@temporalio/common'
import type { RunInfo } from './workflow-host.ts'
import type { Machine, World } from '../world.ts'

export interface ActivityAttempt {
  world: World
  /** The Temporal server. */
  machine: Machine
  /** The worker. */
  at: Machine
  execution: { info: RunInfo; givenUp: number }
  activity: {
    type: string
    attempt: number
    isOver: boolean
    beatMs: number
    retry: { mostAttempts: number }
  }
  /** The number of the attempt; an older attempt is cancelled. */
  token: number
  controller: AbortController
  /** Returns the open run of a workflow. */
  running: (workflowId: string) => { info: RunInfo } | undefined
}

export function activityContext({
  world,
  machine,
  at,
  execution,
  activity,
  token,
  controller,
  running,
}: ActivityAttempt): Context {
  const cancel = () => controller.abort(new CancelledFailure('CANCELLED'))
  const { life } = at
  const { mostAttempts } = activity.retry
  /** A late response must not resume code of a process that has crashed in the meantime. */
  const answer = (act: () => void) => world.send(machine, at, () => at.life === life && act())
  return {
    info: {
      activityType: activity.type,
      attempt: token,
      retryPolicy: { maximumAttempts: Number.isFinite(mostAttempts) ? mostAttempts : undefined },
      workflowNamespace: 'default',
      workflowExecution: { workflowId: execution.info.workflowId, runId: execution.info.runId },
    },
    // The descriptions that an activity reads to learn whether it can still be cancelled, and which run of a workflow is the newest.
    client: {
      workflowService: {
        describeWorkflowExecution: ({ execution: asked }: { execution: { workflowId: string } }) =>
          new Promise<object>((resolve) =>
            world.send(at, machine, () => {
              const pendingWorkflowTask = execution.givenUp > 0 ? { attempt: execution.givenUp + 1 } : null
              const found = running(asked.workflowId)
              const workflowExecutionInfo = found && { status: 1, firstRunId: found.info.firstRunId }
              answer(() => resolve({ pendingWorkflowTask, workflowExecutionInfo }))
            }),
          ),
      },
    },
    cancellationSignal: controller.signal,
    heartbeat() {
      world.send(at, machine, () => {
        if (activity.attempt === token && !activity.isOver) activity.beatMs = world.now()
        if (activity.isOver || activity.attempt !== token) answer(cancel)
      })
    },
    sleep: (ms: number) =>
      new Promise<void>((resolve, reject) => {
        const abort = () => reject(controller.signal.reason as Error)
        if (controller.signal.aborted) return abort()
        controller.signal.addEventListener('abort', abort)
        setTimeout(() => {
          controller.signal.removeEventListener('abort', abort)
          resolve()
        }, ms)
      }),
    // The rest of a context is of a real worker.
  } as unknown as Context
}
