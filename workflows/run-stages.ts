/** Opens the row of a run, and runs the stages that retrainings, trials and sweeps have in common. */
import {
  ActivityCancellationType,
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  sleep,
} from '@temporalio/workflow'
import type { QueueJob, TrainingQueues } from '../activities/trainers/queue-training.ts'
import { rows, training } from './activities.ts'
import type { RetrainProgress } from './messages.ts'

/**
 * Runs the activity that inserts the row to its end, even when the run is cancelled. A cancelled activity may still insert the row; the
 * run would not know of it, and the row would stay open for ever.
 */
export const openRow = <Opened>(open: () => Promise<Opened>): Promise<Opened> =>
  CancellationScope.nonCancellable(open)

/**
 * Runs the stages until they are over. Returns whether the run was cancelled; another failure is stored with the row by the activity that
 * failed.
 */
export async function runToEnd(stages: () => Promise<void>): Promise<boolean> {
  try {
    await stages()
    return false
  } catch (error) {
    return isCancellation(error)
  }
}

/** Takes a snapshot and validates it. `reach` is called when a stage begins. Returns whether the rows may be used. */
export async function takeRows(
  run: string,
  reach: (stage: 'snapshot' | 'validate', more?: { snapshotDigest: string }) => void,
): Promise<boolean> {
  reach('snapshot')
  const { snapshotDigest } = await rows.takeSnapshot({ run })
  reach('validate', { snapshotDigest })
  const { verdict } = await rows.validate({ run })
  return verdict !== 'block'
}

export async function trainOn({ trainQueue, trainerQueue }: TrainingQueues, run: string): Promise<void> {
  if (trainerQueue === undefined) await training(trainQueue).train({ run })
  else await trainOnQueue(run, { trainQueue, trainerQueue })
}

/**
 * Trains the judged recipe again on all matured rows, once the gate has passed, and checks the new weights. Returns whether the rows may be
 * used. After `takeRefitRows`, the row of the run names the refit, so the activities of its rows and trainings work on that.
 */
export async function refitOn(queues: TrainingQueues, run: string): Promise<boolean> {
  await rows.takeRefitRows({ run })
  if ((await rows.validate({ run })).verdict === 'block') return false
  await trainOn(queues, run)
  await training(queues.trainQueue).checkRefit({ run })
  return true
}

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

/** Trains on the user's own task queue. Each attempt gets new folders, because a timed-out attempt may still write to its old ones. */
async function trainOnQueue(
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
