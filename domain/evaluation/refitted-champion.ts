/**
 * Chooses what a challenger is compared with when the live champion has been refitted: its weights have seen the rows up to its refit, so on
 * those rows they look better than they are.
 */
import { counted } from '../figures.ts'
import type { Reason } from '../verdict.ts'
import { insufficientRows } from './input.ts'
import { rowsOfTruths } from './metrics.ts'
import type { GatePolicy } from './policy.ts'

export interface RefittedChampion {
  version: string
  /** ISO 8601: the newest event that its weights have seen. */
  newestEvent: string
  /** The digest of the artifact that the gate judged before the refit. It has not seen the test rows of a later snapshot. */
  judged: string
  /** Whether the challenger was trained by the same code, packages, hyperparameters and seed. */
  isSameRecipe: boolean
  /** The judged artifacts of earlier releases, in place of their refitted ones where recipes are compared. */
  anchors: { version: string; artifactDigest: string }[]
}

/**
 * - `unseen_rows`: the weights in use, on the test rows that happened after their refit.
 * - `same_recipe`: recipes. Trained on the challenger's rows, the champion's recipe gives the challenger.
 * - `judged_weights`: the weights of the champion that the gate judged before its refit.
 */
export type ComparisonBasis = 'unseen_rows' | 'same_recipe' | 'judged_weights'

/** `unseen`: the labels of the test rows that happened after the refit. */
export function judgedRows(
  { version, newestEvent, isSameRecipe }: RefittedChampion,
  unseen: readonly number[],
  policy: GatePolicy,
): { basis: ComparisonBasis; comparison: Reason } {
  const rows = rowsOfTruths(unseen, policy)
  const found = (basis: ComparisonBasis, message: string) => ({
    basis,
    comparison: { code: basis, message, values: { champion: version, newestEvent, rows } },
  })
  const after = `the ${counted(rows, 'test row')} after ${newestEvent}, up to which ${version} was refitted`
  const tooFew = insufficientRows([...unseen], policy)
  if (tooFew.length === 0)
    return found('unseen_rows', `the weights in use are compared on ${after}: neither side has seen them`)
  const because = `${after} are too few (${tooFew.map(({ message }) => message).join('; ')})`
  return isSameRecipe
    ? found(
        'same_recipe',
        `recipes are compared, because ${because}: code, packages, hyperparameters and seed are those of ${version}, so its recipe trained on the rows of the challenger gives the challenger`,
      )
    : found(
        'judged_weights',
        `the challenger is compared with the weights of ${version} that were judged before their refit, because ${because} and the code or a setting has changed: they were trained on older rows than the challenger, so a gain is not counted as better`,
      )
}
