/**
 * Chooses what a challenger is compared with when the live champion has been refitted, or the version that the challenger is compressed from:
 * such weights have seen the rows up to their refit, so on those rows they look better than they are.
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
  /**
   * Of a compressed challenger whose parent has been refitted: `both` where the champion has the weights of the same refit, else `challenger`.
   * Then `version` is the one of the later refit, of the parent and the champion.
   */
  learnt?: 'both' | 'challenger'
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
 * - `same_weights`: a compressed challenger and a champion of one refit, on all test rows.
 * - `learnt_rows`: nothing that would be fair, so there is no verdict.
 */
export type ComparisonBasis =
  | 'unseen_rows'
  | 'same_recipe'
  | 'judged_weights'
  | 'same_weights'
  | 'learnt_rows'

/** `unseen`: the labels of the test rows that happened after the refit. */
export function judgedRows(
  { version, newestEvent, learnt, isSameRecipe }: RefittedChampion,
  unseen: readonly number[],
  policy: GatePolicy,
): { basis: ComparisonBasis; comparison: Reason } {
  const rows = rowsOfTruths(unseen, policy)
  const found = (basis: ComparisonBasis, message: string) => ({
    basis,
    comparison: { code: basis, message, values: { refitted: version, newestEvent, rows } },
  })
  const after = `the ${counted(rows, 'test row')} after ${newestEvent}, up to which ${version} was refitted`
  const tooFew = insufficientRows([...unseen], policy)
  if (tooFew.length === 0)
    return found('unseen_rows', `the weights in use are compared on ${after}: neither side has seen them`)
  const because = `${after} are too few (${tooFew.map(({ message }) => message).join('; ')})`
  if (learnt === 'both')
    return found(
      'same_weights',
      `the challenger is compared with the champion on all test rows, because ${because}: both have learnt the others, so what is measured is what the compression loses, and the figures of both look better than on new rows`,
    )
  if (learnt === 'challenger')
    return found(
      'learnt_rows',
      `the labels give no verdict, because ${because}, and the challenger has learnt the others, so they would show it better than it is: compress the champion, or compress this version again once enough rows after ${newestEvent} have their outcomes`,
    )
  return isSameRecipe
    ? found(
        'same_recipe',
        `recipes are compared, because ${because}: code, packages, hyperparameters and seed are those of ${version}, so its recipe trained on the rows of the challenger gives the challenger`,
      )
    : found(
        'judged_weights',
        `the challenger is compared with the weights of ${version} that were judged before their refit, because ${because}, and the recipe of ${version} would not give the challenger: they were trained on older rows than the challenger, so a gain is not counted as better`,
      )
}
