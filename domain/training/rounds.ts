/** Finds for how many rounds a refit trains: as many as the judged model has, because its best round was chosen on rows that the refit trains on. */

import type { ModelDefinition } from '../model-definition.ts'

/**
 * - `held`: the newest rows are validation rows, as in the judged training.
 * - `whole`: all rows are training rows.
 */
export type RefitRows = 'held' | 'whole'

interface Judged {
  /** The rounds of the model, up to its best one, as its library counts them. */
  rounds?: number | undefined
  curve: readonly { epoch: number; validationLoss?: number | undefined }[]
}

/** The rounds of the model; else the epoch with the least validation loss, the first of several; undefined where neither is known. */
export const roundsOf = ({ rounds, curve }: Judged): number | undefined =>
  rounds ??
  curve.reduce<{ epoch?: number; loss: number }>(
    (best, { epoch, validationLoss = Infinity }) =>
      validationLoss < best.loss ? { epoch, loss: validationLoss } : best,
    { loss: Infinity },
  ).epoch

/** Which rows a refit has. A program whose rounds are unknown stops early by validation rows again; a training function trains on both. */
export const refitRowsOf = ({ trainer }: Pick<ModelDefinition, 'trainer'>, judged: Judged): RefitRows =>
  trainer === undefined || roundsOf(judged) === undefined ? 'held' : 'whole'
