/** Sets timeouts and retries of the activities that more than one workflow calls. Each proxy has one timeout. */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  proxyActivities,
} from '@temporalio/workflow'
import type { ControlActivities, TrainingActivities } from '../activities/activities.ts'
import { isErrorCode, type ErrorCode } from '../domain/errors.ts'
import type { ReleaseState } from '../domain/release/state.ts'
import { maxTrainingAttempts } from '../domain/training/trainer.ts'

/** Retried while Postgres is unavailable; errors marked non-retryable in the error table are not. */
const retry = { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

/** A cancelled activity is not awaited; the store rejects its late writes. */
const cancellationType = ActivityCancellationType.TRY_CANCEL

/** A worker without a heartbeat for this long counts as dead: during a step of a release, and during work on rows. */
const heartbeatTimeout = { release: '5 s', rows: '10 s' } as const

/** Reads and writes of a few rows. */
export const short = proxyActivities<
  Pick<
    ControlActivities,
    | 'openRelease'
    | 'lookAtCommands'
    | 'lookAtBasis'
    | 'lookAtQueue'
    | 'cancelRelease'
    | 'endWait'
    | 'failStep'
    | 'promote'
    | 'enqueueRelease'
    | 'nextQueuedRelease'
    | 'awaitDequeued'
    | 'openRetraining'
    | 'register'
    | 'endRetraining'
    | 'openTrial'
    | 'endTrial'
    | 'openSweep'
    | 'chooseWinner'
    | 'endSweep'
    | 'openBatch'
    | 'failBatch'
    | 'openLoadTest'
  >
>({ startToCloseTimeout: '20 s', retry, cancellationType })

/** Work on the rows of a run. Five failures mean that the data is broken. Waiting for a server or for disk space is not counted. */
export const rows = proxyActivities<Pick<ControlActivities, 'takeSnapshot' | 'takeRefitRows' | 'validate'>>({
  startToCloseTimeout: '24 h',
  heartbeatTimeout: heartbeatTimeout.rows,
  retry: { ...retry, maximumAttempts: 5 },
})

/**
 * Activities of the training workers. They wait in the queue without limit and resume from the last checkpoint; cancellation waits
 * for their end, so that the child process has exited when the run ends.
 */
export const training = (taskQueue: string) =>
  proxyActivities<TrainingActivities>({
    taskQueue,
    startToCloseTimeout: '24 h',
    heartbeatTimeout: heartbeatTimeout.rows,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { ...retry, maximumAttempts: maxTrainingAttempts },
  })

/** Qualification has a limit of its own; the rest is waiting for Postgres. */
export const qualification = proxyActivities<Pick<ControlActivities, 'qualify'>>({
  startToCloseTimeout: '24 h',
  heartbeatTimeout: heartbeatTimeout.release,
  cancellationType,
  retry: { ...retry, maximumAttempts: 10 },
})

/** Steps that wait until replicas have acknowledged their routes. */
export const acknowledged = ({ policy }: Pick<ReleaseState, 'policy'>) =>
  proxyActivities<Pick<ControlActivities, 'route' | 'rollBackCandidate' | 'closeRelease'>>({
    startToCloseTimeout: policy.watch.acknowledgeMs + 30_000,
    heartbeatTimeout: heartbeatTimeout.release,
    cancellationType,
    retry,
  })

/** A watch ends by its verdict or by the deadline of its policy; this limit is only a fallback. */
export const observation = proxyActivities<Pick<ControlActivities, 'watch'>>({
  startToCloseTimeout: '400 days',
  heartbeatTimeout: heartbeatTimeout.release,
  cancellationType,
  retry: { ...retry, maximumInterval: '2 s' },
})

/** The code of the error of Tenure that an activity has thrown. */
export function errorCodeOf(error: unknown): ErrorCode | undefined {
  const { cause } = error instanceof ActivityFailure ? error : {}
  const type = cause instanceof ApplicationFailure ? cause.type : undefined
  return isErrorCode(type) ? type : undefined
}

/** The message of the innermost cause, which names the actual failure. */
export function messageOf(error: unknown): string {
  const isWrapper = error instanceof ActivityFailure || error instanceof ChildWorkflowFailure
  if (isWrapper && error.cause) return messageOf(error.cause)
  return error instanceof Error ? error.message : String(error)
}
