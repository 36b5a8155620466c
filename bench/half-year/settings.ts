/** What a half-year is played with, and what is found of it. */
import type { ChampionChange } from '../../store/registry/champions.ts'
import type { MonitorWindow } from '../../store/monitoring/monitor-windows.ts'
import type { Retraining } from '../../store/training/retrainings.ts'
import type { BaselineQuality } from './baselines.ts'
import type { SteppedClock } from './clock.ts'
import type { Vitals } from './resource-usage.ts'

export interface HalfYearPlan {
  /** How long a recorded week takes. */
  weekMs: number
  weeks: number
  everyNth: number
  together: number
  trainRows: number
  testRows: number
  /** Whether the versions of the others are trained and asked too. */
  compare: boolean
}

export interface WeekReport {
  /** The recorded day on which it begins. */
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
  /** How many versions "retrained weekly" trained. */
  weeklyTrainings: number
  outcomes: number
  worstLagMs: number
  vitals: Vitals[]
  /** What is unfinished or unacknowledged when the traffic has ended, by what it is; all of it should be 0. */
  left: Record<string, number>
  /** Warnings of the processes. */
  complaints: string[]
  liveMs: number
}
