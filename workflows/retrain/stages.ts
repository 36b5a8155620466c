/** Runs the stages that retrainings, trials and sweeps have in common. */
import type { TrainingQueues } from '../../activities/trainers/queue-training.ts'
import { reading, training } from './activities.ts'
import { trainOnQueue } from './train-on-queue.ts'

/** Takes a snapshot and validates it. `reach` is called when a stage begins. Returns whether the rows may be used. */
export async function takeRows(
  run: string,
  reach: (stage: 'snapshot' | 'validate', more?: { snapshotDigest: string }) => void,
): Promise<boolean> {
  reach('snapshot')
  const { snapshotDigest } = await reading.takeSnapshot({ run })
  reach('validate', { snapshotDigest })
  const { verdict } = await reading.validate({ run })
  return verdict !== 'block'
}

export async function trainOn({ trainQueue, trainerQueue }: TrainingQueues, run: string): Promise<void> {
  if (trainerQueue === undefined) await training(trainQueue).train({ run })
  else await trainOnQueue(run, { trainQueue, trainerQueue })
}
