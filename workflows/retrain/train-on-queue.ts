/** Trains on the user's own task queue. Each attempt gets new folders, because a timed-out attempt may still write to its old ones. */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  isCancellation,
  proxyActivities,
  sleep,
} from '@temporalio/workflow'
import type { QueueJob, TrainingQueues } from '../../activities/trainers/queue-training.ts'
import type { RetrainProgress } from '../messages.ts'
import { training } from './activities.ts'

const maxAttempts = 10
/** A Python worker sends heartbeats late while it imports libraries on a busy machine. */
const heartbeatTimeout = '1 min'
const maxPauseMs = 60_000

/** The contract with the workers of the queue. */
interface QueueActivities {
  train(job: QueueJob): Promise<unknown>
}

/** The task queue whose workers run the training. */
export const trainingQueueOf = ({ trainQueue, trainerQueue }: TrainingQueues): RetrainProgress['queue'] => ({
  name: trainerQueue ?? trainQueue,
  isOwn: trainerQueue !== undefined,
})

export async function trainOnQueue(
  run: string,
  { trainQueue, trainerQueue }: Required<TrainingQueues>,
): Promise<void> {
  const { prepareTraining, finishTraining } = training(trainQueue)
  for (let attempt = 1; ; attempt++) {
    const { job, limitMs } = await prepareTraining({ run })
    if (job === undefined) return
    const { train } = proxyActivities<QueueActivities>({
      taskQueue: trainerQueue,
      startToCloseTimeout: limitMs,
      heartbeatTimeout,
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: { maximumAttempts: 1 },
    })
    try {
      await train(job)
      return await finishTraining({ run })
    } catch (error) {
      if (isCancellation(error) || isFinal(error) || attempt >= maxAttempts) throw error
      await sleep(Math.min(maxPauseMs, 1_000 * 2 ** (attempt - 1)))
    }
  }
}

const isFinal = (error: unknown): boolean =>
  error instanceof ActivityFailure &&
  error.cause instanceof ApplicationFailure &&
  error.cause.nonRetryable === true
