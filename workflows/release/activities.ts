/** Sets timeouts and retries of the activities of a release. */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  ChildWorkflowFailure,
  proxyActivities,
} from '@temporalio/workflow'
import type { ControlActivities } from '../../activities/control-activities.ts'
import { isErrorCode, type ErrorCode } from '../../domain/errors.ts'
import type { ReleaseState } from '../../domain/release/state.ts'

/** Retried while Postgres is unavailable; errors marked non-retryable in the error table are not. */
const retry = { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

/** A step that the state no longer asks for is not awaited; the store rejects its late writes. */
const cancellationType = ActivityCancellationType.TRY_CANCEL

/** A worker without a heartbeat for this long counts as dead. */
const heartbeatTimeout = '5 s'

export const control = proxyActivities<
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
  >
>({ startToCloseTimeout: '20 s', retry, cancellationType })

export const qualifying = proxyActivities<Pick<ControlActivities, 'qualify'>>({
  // Qualification has a limit of its own; the rest is waiting for Postgres.
  startToCloseTimeout: '24 h',
  heartbeatTimeout,
  cancellationType,
  retry: { ...retry, maximumAttempts: 10 },
})

/** Steps that wait for acknowledgements of replicas. */
export const routing = ({ policy }: Pick<ReleaseState, 'policy'>) =>
  proxyActivities<Pick<ControlActivities, 'route' | 'rollBackCandidate' | 'closeRelease'>>({
    startToCloseTimeout: policy.watch.acknowledgeMs + 30_000,
    heartbeatTimeout,
    cancellationType,
    retry,
  })

/** A watch ends by its verdict or by the deadline of its policy; this limit is only a fallback. */
export const watching = proxyActivities<Pick<ControlActivities, 'watch'>>({
  startToCloseTimeout: '400 days',
  heartbeatTimeout,
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
