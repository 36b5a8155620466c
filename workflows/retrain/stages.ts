/** Runs the stages that retrainings, trials and sweeps have in common. */
import { workflowInfo } from '@temporalio/workflow'
import type { TrainInput } from '../../activities/trainers/attempt.ts'
import type { TrainingQueues } from '../../activities/trainers/queue-training.ts'
import { idsOfRun } from '../../domain/training/run-ids.ts'
import { reading, training } from './activities.ts'
import { trainOnQueue } from './train-on-queue.ts'

interface TakenRows {
  snapshotDigest: string
  /** Present when the validation has blocked the rows. */
  blocked?: { message: string; failures: string[] }
}

/** Takes a snapshot and validates it. `reach` is called when a stage begins. */
export async function takeRows(
  { model, asOf }: { model: string; asOf: string },
  reach: (stage: 'snapshot' | 'validate', more?: { snapshotDigest: string }) => void,
): Promise<TakenRows> {
  const { validationId } = idsOfRun(workflowInfo().firstExecutionRunId)
  reach('snapshot')
  const { digest: snapshotDigest, excludedRows } = await reading.takeSnapshot({ model, asOf })
  reach('validate', { snapshotDigest })
  const { verdict, failures } = await reading.validate({
    validationId,
    model,
    snapshotDigest,
    asOf,
    excludedRows,
  })
  if (verdict !== 'block') return { snapshotDigest }
  return {
    snapshotDigest,
    blocked: { message: `the data failed validation: ${failures.join('; ')}`, failures },
  }
}

export async function trainOn(
  { trainQueue, trainerQueue }: TrainingQueues,
  input: TrainInput,
): Promise<void> {
  if (trainerQueue === undefined) await training(trainQueue).train(input)
  else await trainOnQueue(input, { trainQueue, trainerQueue })
}
