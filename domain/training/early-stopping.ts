/** Decides when a training stops because the validation rows no longer gain from it, and which epoch was the best. */

export interface StopEarly {
  /** Epochs without a gain after which the training stops. */
  after: number
  /** A lower loss by no more than this is no gain; 0 when absent. */
  minDelta?: number
}

/** What is known after an epoch. It is kept in the checkpoint, so that a resumed training stops at the same epoch. */
export interface StopWatch {
  bestEpoch: number
  bestLoss: number
  /** Of the last epoch that was seen. */
  epoch: number
}

/** A loss that is not finite is no gain. */
export function watchEpoch(
  before: StopWatch | undefined,
  { epoch, loss }: { epoch: number; loss: number },
  { minDelta = 0 }: StopEarly,
): StopWatch {
  if (before === undefined || !Number.isFinite(before.bestLoss))
    return { bestEpoch: epoch, bestLoss: loss, epoch }
  const isGain = Number.isFinite(loss) && loss < before.bestLoss - minDelta
  return isGain ? { bestEpoch: epoch, bestLoss: loss, epoch } : { ...before, epoch }
}

export const isStopped = (watch: StopWatch | undefined, { after }: StopEarly): boolean =>
  watch !== undefined && watch.epoch - watch.bestEpoch >= after
