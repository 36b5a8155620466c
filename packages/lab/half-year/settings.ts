/** Declares the plan and the weekly results of a half-year run. */
import type { BaselineQuality } from './baselines.ts'

export interface HalfYearPlan {
  /** Wall-clock duration of a recorded week. */
  weekMs: number
  weeks: number
  everyNth: number
  together: number
  trainRows: number
  testRows: number
  /** Also train and score the baselines. */
  compare: boolean
}

export interface WeekReport {
  /** First recorded day. */
  fromMs: number
  rows: number
  lateShare: number
  tenure: BaselineQuality
  never: BaselineQuality | undefined
  weekly: BaselineQuality | undefined
  versions: [version: string, flights: number][]
  requests: number
  failures: Record<string, number>
}
