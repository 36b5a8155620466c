/**
 * Stops a trial of a sweep that is worse than most: its best validation loss so far is above the median of the ended trials' best losses
 * by the same epoch (the median stopping rule of Google Vizier, Golovin et al. 2017).
 */

interface Epoch {
  epoch: number
  validationLoss?: number
}

/** With fewer ended trials or epochs, the median is not informative. */
const minEnded = 3
const minEpochs = 2

const bestUntil = (curve: readonly Epoch[], epoch: number): number =>
  Math.min(
    ...curve.flatMap((each) =>
      each.epoch <= epoch && Number.isFinite(each.validationLoss) ? [each.validationLoss!] : [],
    ),
  )

/** Why the trial stops; undefined while it continues. */
export function medianStop(mine: readonly Epoch[], ended: readonly (readonly Epoch[])[]): string | undefined {
  const epoch = mine.at(-1)?.epoch ?? 0
  const best = bestUntil(mine, epoch)
  const others = ended
    .map((curve) => bestUntil(curve, epoch))
    .filter(Number.isFinite)
    .sort((one, other) => one - other)
  if (epoch < minEpochs || others.length < minEnded || !Number.isFinite(best)) return undefined
  const middle = others.length >> 1
  const median = others.length % 2 === 1 ? others[middle]! : (others[middle - 1]! + others[middle]!) / 2
  if (best <= median) return undefined
  return `stopped early: validation loss ${best.toPrecision(4)} after epoch ${epoch}, the median of ${others.length} trials is ${median.toPrecision(4)}`
}
