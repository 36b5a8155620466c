/** Judges the drift of a recorded history again, to see what other limits would have said. */
import type { ReferenceProfile } from '../model/reference-profile.ts'
import { judgeDrift, type DriftLevel } from './drift.ts'
import { driftEvidenceAt, driftPolicyOf, type CountedHour, type DriftTuning } from './drift-history.ts'

export interface DriftHistory {
  profile: ReferenceProfile
  /** Oldest first. */
  hours: readonly CountedHour[]
  /** The period of one count, and of the windows that the monitor judges. */
  everyMs: number
  lengthMs: number
  importance?: Record<string, number>
}

/** What a feature, the score, or the whole input would have said. */
export interface BacktestedSubject {
  name: string
  /** Windows that warned, and windows in alarm. */
  warnings: number
  alarms: number
  /** The ends of the first windows of each row of windows in alarm, in milliseconds. */
  alarmedMs: number[]
}

export interface DriftBacktest {
  /** Windows with a count, and those of them with enough rows. */
  windows: number
  judged: number
  /** Those that warned or alarmed, the most alarms first. */
  subjects: BacktestedSubject[]
  /** Rows of windows in which anything was in alarm: the alerts that would have been raised. */
  alerts: number
  /** The same per 30 days of judged windows; null without any. */
  alertsPerMonth: number | null
}

const monthMs = 30 * 86_400_000
/** The name of the whole input. */
const whole = 'input as a whole'

/** One window ends with each count, as in the live monitor with windows of one count. */
export function backtestDrift(
  { profile, hours, everyMs, lengthMs, importance }: DriftHistory,
  tuning: DriftTuning = {},
): DriftBacktest {
  const policy = driftPolicyOf(tuning)
  const subjects = new Map<string, BacktestedSubject>()
  const last = new Map<string, DriftLevel>()
  let [windows, judged, alerts] = [0, 0, 0]
  let wasAlarm = false
  for (const { hourMs } of hours) {
    const toMs = hourMs + everyMs
    const evidence = driftEvidenceAt(profile, hours, { toMs, lengthMs, everyMs }, tuning)
    if (evidence === undefined) continue
    windows += 1
    const report = judgeDrift({ ...evidence, importance }, policy)
    const levels = [
      ...[...report.features, ...(report.score ? [report.score] : [])].map(
        ({ name, level }) => [name, level] as const,
      ),
      [whole, report.dataset.level] as const,
    ]
    if (levels.some(([, level]) => level !== 'insufficient')) judged += 1
    for (const [name, level] of levels) {
      if (level === 'warn' || level === 'alarm') {
        const subject = subjects.get(name) ?? { name, warnings: 0, alarms: 0, alarmedMs: [] }
        subjects.set(name, subject)
        if (level === 'warn') subject.warnings += 1
        else {
          subject.alarms += 1
          if (last.get(name) !== 'alarm') subject.alarmedMs.push(toMs)
        }
      }
      last.set(name, level)
    }
    const isAlarm = levels.some(([, level]) => level === 'alarm')
    if (isAlarm && !wasAlarm) alerts += 1
    wasAlarm = isAlarm
  }
  return {
    windows,
    judged,
    subjects: [...subjects.values()].sort((a, b) => b.alarms - a.alarms || b.warnings - a.warnings),
    alerts,
    alertsPerMonth: judged === 0 ? null : (alerts * monthMs) / (judged * everyMs),
  }
}
