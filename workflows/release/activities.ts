/** How the steps of a release are called: how long each may take, and when a silent worker is given up. */
import { ActivityCancellationType, ActivityFailure, proxyActivities } from '@temporalio/workflow'
import type { ControlActivities } from '../../activities/control-activities.ts'
import type { ReleaseState } from '../../domain/release/state.ts'

/** Tried for as long as Postgres is away; what cannot help is not tried again (see the error table). */
const retry = { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

/** A step that the state no longer asks for is not waited for: whatever it still writes is refused by the store. */
const cancellationType = ActivityCancellationType.TRY_CANCEL

/** A worker that has not been heard of for so long is taken for dead. */
const heartbeatTimeout = '5 s'

export const patient = proxyActivities<
  Pick<
    ControlActivities,
    | 'authorize'
    | 'openRelease'
    | 'recordRelease'
    | 'promote'
    | 'enqueueRelease'
    | 'nextQueuedRelease'
    | 'markDequeued'
  >
>({ startToCloseTimeout: '20 s', retry, cancellationType })

export const qualifying = proxyActivities<Pick<ControlActivities, 'qualify'>>({
  startToCloseTimeout: '2 min',
  heartbeatTimeout,
  cancellationType,
  retry: { ...retry, maximumAttempts: 10 },
})

/** The steps that wait for the replicas. */
export const routing = (state: Pick<ReleaseState, 'policy'>) =>
  proxyActivities<Pick<ControlActivities, 'route' | 'rollBackCandidate' | 'closeRelease'>>({
    startToCloseTimeout: state.policy.watch.acknowledgeMs + 30_000,
    heartbeatTimeout,
    cancellationType,
    retry,
  })

/** A watch ends by its verdict or its deadline, which its policy sets; this limit is only a stop behind those. */
export const watching = proxyActivities<Pick<ControlActivities, 'watch'>>({
  startToCloseTimeout: '400 days',
  heartbeatTimeout,
  cancellationType,
  retry: { ...retry, maximumInterval: '2 s' },
})

export const rollingBack = proxyActivities<Pick<ControlActivities, 'rollBackModel'>>({
  startToCloseTimeout: '90 s',
  heartbeatTimeout,
  retry,
})

/** The innermost reason of a failure, which is the one that tells something. */
export function messageOf(error: unknown): string {
  if (error instanceof ActivityFailure && error.cause) return messageOf(error.cause)
  return error instanceof Error ? error.message : String(error)
}
