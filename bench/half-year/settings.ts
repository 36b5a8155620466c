/** Declares the plan and the results of a half-year run. */
import type { ChampionChange } from '../../store/registry/champions.ts'
import type { MonitorWindow } from '../../store/monitoring/monitor-windows.ts'
import type { Retraining } from '../../store/training/retrainings.ts'
import type { BaselineQuality } from './baselines.ts'
import type { SteppedClock } from './clock.ts'
import type { Vitals } from './resource-usage.ts'

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

export interface HalfYear {
  plan: HalfYearPlan
  clock: SteppedClock
  weeks: WeekReport[]
  windows: MonitorWindow[]
  retrainings: Retraining[]
  releases: {
    version: string
    outcome: string
    reason: string
    startedMs: number
    endedMs: number | undefined
  }[]
  champions: ChampionChange[]
  alerts: { kind: string; open: boolean; count: number }[]
  /** Number of versions of "retrained weekly". */
  weeklyTrainings: number
  outcomes: number
  worstLagMs: number
  vitals: Vitals[]
  /** Unfinished or unacknowledged work after the traffic, by kind; expected 0. */
  left: Record<string, number>
  /** Warnings of the processes. */
  complaints: string[]
  liveMs: number
}
