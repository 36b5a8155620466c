/** How the steps of a retraining are called: how long each may take, and when a silent worker is given up. */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow'
import type { PipelineActivities, TrainingActivities } from '../../activities/training-activities.ts'

/** Tried for as long as Postgres is away; what cannot help is not tried again (see the error table). */
const retry = { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

/** A worker that has not been heard of for so long is taken for dead. */
const heartbeatTimeout = '10 s'

export const recording = proxyActivities<
  Pick<PipelineActivities, 'openRetraining' | 'register' | 'alertRetraining' | 'endRetraining'>
>({ startToCloseTimeout: '20 s', retry })

/** Reading and judging a batch. What fails five times is broken, not busy. */
export const reading = proxyActivities<Pick<PipelineActivities, 'takeSnapshot' | 'validate'>>({
  startToCloseTimeout: '1 h',
  heartbeatTimeout,
  retry: { ...retry, maximumAttempts: 5 },
})

/**
 * Heavy work on the training workers. It may wait for a free one as long as it must, and goes on from its last checkpoint
 * when it was interrupted; a cancelled one is waited for, so that its process is gone when the run ends.
 */
export const training = (taskQueue: string) =>
  proxyActivities<TrainingActivities>({
    taskQueue,
    startToCloseTimeout: '24 h',
    heartbeatTimeout,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { ...retry, maximumAttempts: 10 },
  })
