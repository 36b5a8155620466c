/**
 * What an evaluation rested on beside its report, stored with it: without the anchor that was chosen and the leaks that were
 * looked for, nobody could say later why a challenger was stopped, or why it was not.
 */
import type { LeakageFacts } from './leakage.ts'

export interface EvaluationInputs {
  /** Rows of the test set. */
  rows: number
  slices: { name: string; rows: number }[]
  leakage: LeakageFacts
  /** How many decisions the test set had served before. */
  testSetUses: number
  /** The column that answers without a model; null when the shares of the classes, or the mean, did. */
  baseline: string | null
  /** The best recent release beside the champion, and its value of the primary metric; null when there was none. */
  anchor: { version: string; value: number } | null
  anchorsAsked: string[]
}
