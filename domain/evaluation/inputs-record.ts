/**
 * Defines what is stored of an evaluation beside its report, so that the choice of the anchor and the leak checks can be explained later.
 */
import type { GateSearch } from './input.ts'
import type { RefittedChampion } from './refitted-champion.ts'
import type { LeakageFacts } from './leakage.ts'

export interface EvaluationInputs {
  /** The rows of the test set. */
  rows: number
  slices: { name: string; rows: number }[]
  leakage: LeakageFacts
  /** The number of earlier decisions on the test set. */
  testSetUses: number
  /** Absent when the champion was trained with the same split. */
  championSplitDiffers?: boolean
  /** Absent unless the champion has been refitted, or the version that the challenger is compressed from. */
  refitted?: RefittedChampion
  /** Absent when nothing else was tried. */
  search?: GateSearch
  /** The column used as the baseline; null for the constant of `naiveAnswers`. */
  baseline: string | null
  /** The best recent release beside the champion, with its primary metric; null without one. */
  anchor: { version: string; value: number } | null
  anchorsAsked: string[]
}
