/** Decides when a training stops because its validation loss no longer improves, and which epoch was the best. */

export interface StopEarly {
  /** The training stops after this many epochs without an improvement. */
  after: number
  /** A decrease of the loss by no more than this is not an improvement. Default: 0. */
  minDelta?: number
}

/** The state after an epoch. It is stored in the checkpoint, so that a resumed training stops at the same epoch. */
export interface StopWatch {
  bestEpoch: number
  bestLoss: number
  /** The last epoch that was evaluated. */
  epoch: number
}

/** A non-finite loss is not an improvement. */
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
