/** Sets timeouts and retries of the activities of retrainings, trials and sweeps. */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow'
import type { PipelineActivities, TrainingActivities } from '../../activities/training-activities.ts'
import { maxTrainingAttempts } from '../../domain/training/trainer.ts'

/** Retried while Postgres is unavailable; errors marked non-retryable in the error table are not. */
const retry = { initialInterval: '100 ms', backoffCoefficient: 2, maximumInterval: '5 s' } as const

/** A worker without a heartbeat for this long counts as dead. */
const heartbeatTimeout = '10 s'

export const recording = proxyActivities<Omit<PipelineActivities, 'takeSnapshot' | 'validate'>>({
  startToCloseTimeout: '20 s',
  retry,
})

/** Five failures mean that the data is broken. Waiting for a server or for disk space happens within an attempt and is not counted. */
export const reading = proxyActivities<Pick<PipelineActivities, 'takeSnapshot' | 'validate'>>({
  startToCloseTimeout: '24 h',
  heartbeatTimeout,
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
    heartbeatTimeout,
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { ...retry, maximumAttempts: maxTrainingAttempts },
  })
