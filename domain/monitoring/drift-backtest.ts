/** Judges the drift of a recorded history again, to see what other limits would have reported. */
import type { ReferenceProfile } from '../model/reference-profile.ts'
import { answerRows, judgeDrift, type DriftLevel } from './drift.ts'
import { betaQuantile, seededRandom } from '@tenure/sequential'
import {
  driftEvidenceAt,
  driftPolicyOf,
  mergedWindow,
  replaceCounts,
  type CountedHour,
  type DriftTuning,
} from './drift-history.ts'

export interface DriftHistory {
  profile: ReferenceProfile
  /** Oldest first. */
  hours: readonly CountedHour[]
  /** Counts before the history, which the model file may use as its reference. */
  earlier?: readonly CountedHour[]
  /** The period of one count, and of the windows that the monitor judges. */
  everyMs: number
  lengthMs: number
  importance?: Record<string, number>
}

/** The result for a feature, a score, or the whole input. */
export interface BacktestedSubject {
  name: string
  /** The number of windows that warned, and the number in alarm. */
  warnings: number
  alarms: number
  /** The end of the first window of each series of windows in alarm, in milliseconds. */
  alarmedMs: number[]
}

export interface DriftBacktest {
  /** The number of windows with a count, and of those with enough rows. */
  windows: number
  judged: number
  /** The subjects that warned or alarmed, the most alarms first. */
  subjects: BacktestedSubject[]
  /** The number of series of windows with any alarm, each of which would have raised an alert. */
  alerts: number
  /** The same per 30 days of judged windows; null when none was judged. */
  alertsPerMonth: number | null
}

const monthMs = 30 * 86_400_000
/** The name of the whole input in the results. */
const whole = 'input as a whole'

/** One window ends with each count, as in the live monitor with windows of one count. */
export function backtestDrift(
  { profile, hours, earlier = [], everyMs, lengthMs, importance }: DriftHistory,
  tuning: DriftTuning = {},
): DriftBacktest {
  const policy = driftPolicyOf(tuning)
  const subjects = new Map<string, BacktestedSubject>()
  const last = new Map<string, DriftLevel>()
  let [windows, judged, alerts] = [0, 0, 0]
  let wasAlarm = false
  const counted = [...earlier, ...hours]
  for (const { hourMs } of hours) {
    const toMs = hourMs + everyMs
    const evidence = driftEvidenceAt(profile, counted, { toMs, lengthMs, everyMs }, tuning)
    if (evidence === undefined) continue
    windows += 1
    const report = judgeDrift({ ...evidence, importance }, policy)
    const levels = [
      ...[...report.features, ...answerRows(report)].map(({ name, level }) => [name, level] as const),
      [whole, report.dataset.level] as const,
    ]
    if (levels.some(([, level]) => level !== 'insufficient')) judged += 1
    for (const [name, level] of levels) {
      if (level === 'warn' || level === 'alarm') {
        const subject = subjects.get(name) ?? { name, warnings: 0, alarms: 0, alarmedMs: [] }
        subjects.set(name, subject)
        if (level === 'warn') subject.warnings += 1
        else subject.alarms += 1
        if (level === 'alarm' && last.get(name) !== 'alarm') subject.alarmedMs.push(toMs)
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

export interface FalseAlarms {
  /**
   * Which hours were shuffled with each other: those of the same hour of the week, of the same hour of the day, or all hours when the
   * history is too short.
   */
  within: 'week' | 'day' | 'history'
  /** The number of shuffled histories, and of their windows with enough rows. */
  rounds: number
  judged: number
  alerts: number
  /** Alerts per 30 days, and the upper bound at 95 % (Clopper-Pearson, one-sided); null without a judged window. */
  perMonth: number | null
  atMost: number | null
}

const dayMs = 86_400_000
/** A rhythm can be distinguished from a change when the history contains it twice. */
const rhythms = [
  { within: 'week', periodMs: 7 * dayMs },
  { within: 'day', periodMs: dayMs },
] as const

/**
 * How often the limits would alarm without any change: the recorded hours are shuffled within the same hour of the week and compared with
 * the whole history. A change in the history spreads over all parts of a shuffled history, while the weekly rhythm stays.
 */
export function falseAlarms(
  { hours, earlier: _earlier, ...history }: DriftHistory,
  tuning: DriftTuning = {},
  { rounds = 10, seed = 1 } = {},
): FalseAlarms {
  const whole = mergedWindow(hours)
  const profile = replaceCounts(history.profile, () => whole, whole, driftPolicyOf(tuning))
  const uniform = seededRandom(seed)
  const lengthMs = hours.length === 0 ? 0 : hours.at(-1)!.hourMs - hours[0]!.hourMs
  const rhythm = rhythms.find(({ periodMs }) => lengthMs >= 2 * periodMs)
  let [judged, alerts] = [0, 0]
  for (let round = 0; round < rounds; round++) {
    const mixed = shuffledHours(hours, rhythm?.periodMs ?? 1, uniform)
    const tested = backtestDrift({ ...history, profile, hours: mixed }, tuning)
    judged += tested.judged
    alerts += tested.alerts
  }
  const windowsPerMonth = monthMs / history.everyMs
  const bound = judged === 0 ? null : betaQuantile(0.95, alerts + 1, judged - alerts)
  return {
    within: rhythm?.within ?? 'history',
    rounds,
    judged,
    alerts,
    perMonth: judged === 0 ? null : (alerts / judged) * windowsPerMonth,
    atMost: bound === null ? null : bound * windowsPerMonth,
  }
}

/** Replaces each hour by another one with the same position in the period. */
function shuffledHours(
  hours: readonly CountedHour[],
  periodMs: number,
  uniform: () => number,
): CountedHour[] {
  const places = new Map<number, number[]>()
  for (const [place, { hourMs }] of hours.entries()) {
    const inPeriod = hourMs % periodMs
    places.set(inPeriod, [...(places.get(inPeriod) ?? []), place])
  }
  const mixed = [...hours]
  for (const same of places.values()) {
    const order = same.map((place) => ({ place, drawn: uniform() })).sort((a, b) => a.drawn - b.drawn)
    for (const [i, place] of same.entries())
      mixed[place] = { hourMs: hours[place]!.hourMs, counts: hours[order[i]!.place]!.counts }
  }
  return mixed
}
