/** Defines the counts of a drift window, in the bins of a reference profile. */
import type { ReferenceProfile } from '../model/reference-profile.ts'

/** The counts of one window of serving, in the bins of the reference (domain/model/reference-profile.ts). */
export interface DriftWindow {
  /** By name of the feature. */
  features: Record<string, number[]>
  score?: number[]
  label?: number[]
  /** For several numbers per row, by name of the number; the counts of a number named "score" are in `score`. */
  scores?: Record<string, number[]>
  labels?: Record<string, number[]>
}

/** By name of the profile. */
export type NamedCounts = Readonly<Record<string, number[] | undefined>>

/** The counts of the answers: one list, or one per number. */
export function answerCounts(
  window: Pick<DriftWindow, 'score' | 'scores'> | undefined,
  reference: Pick<ReferenceProfile, 'score' | 'scores'> | undefined,
): NamedCounts {
  const { score, scores } = window ?? {}
  if (reference?.scores !== undefined) return { ...(score && { score }), ...scores }
  return reference?.score === undefined ? {} : { [reference.score.name]: score }
}

/** The counts of the labels: one list, or one per number. */
export function labelCounts(
  window: DriftWindow | undefined,
  { label, labels }: ReferenceProfile,
): NamedCounts {
  if (labels !== undefined) return window?.labels ?? {}
  return label === undefined ? {} : { [label.name]: window?.label }
}

/** The summed counts of several replicas, hours or windows; null when their bins differ. */
export function mergeCounts(windows: readonly (readonly number[])[]): number[] | null {
  const [first] = windows
  if (first === undefined || windows.some((counts) => counts.length !== first.length)) return null
  return first.map((_, bin) => windows.reduce((sum, counts) => sum + counts[bin]!, 0))
}
