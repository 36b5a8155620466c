import { describe, expect, it } from 'vitest'
import {
  countBins,
  numberProfile,
  withCycle,
  type NumberProfile,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { backtestDrift, falseAlarms } from '../../../domain/monitoring/drift-backtest.ts'
import {
  driftEvidenceAt,
  driftPolicyOf,
  historyFromMs,
  lastYearMs,
  referencesOf,
  referenceSpans,
  type CountedHour,
  type DriftTuning,
} from '../../../domain/monitoring/drift-history.ts'
import { judgeDrift, type DriftEvidence } from '../../../domain/monitoring/drift.ts'
import { defaultMonitorPolicy, issuesOfMonitor } from '../../../domain/monitoring/policy.ts'
import { compileMonitor } from '../../../models/define/monitor.ts'
import { seededRandom } from '@tenure/sequential'

const uniform = seededRandom(11)
const values = (n: number, shift = 0) => Array.from({ length: n }, () => uniform() + shift)
const [x, y] = [numberProfile('x', values(5_000)), numberProfile('y', values(5_000))]
const profile: ReferenceProfile = { rows: 5_000, features: [x, y] }
const hourMs = 3_600_000
/** Builds an hour of 1,000 rows. */
const hour = (at: number, shifts: { x?: number; y?: number } = {}): CountedHour => ({
  hourMs: at * hourMs,
  counts: {
    features: {
      x: countBins(x, values(1_000, shifts.x)),
      y: countBins(y, values(1_000, shifts.y)),
    },
  },
})
const span = (to: number) => ({ toMs: to * hourMs, lengthMs: 2 * hourMs, everyMs: hourMs })
const judged = (hours: readonly CountedHour[], to: number, tuning: DriftTuning = {}) => {
  const { importance: _, ...evidence } = {
    importance: undefined,
    ...driftEvidenceAt(profile, hours, span(to), tuning)!,
  }
  return judgeDrift(evidence, driftPolicyOf(tuning))
}
const levelsOf = (report: ReturnType<typeof judgeDrift>) =>
  Object.fromEntries(report.features.map(({ name, level }) => [name, level]))

describe('the evidence of a window', () => {
  const hours = [hour(0), hour(1), hour(2), hour(3)]

  it('has the counts of the window, of the one before and of the newest hour', () => {
    const evidence = driftEvidenceAt(profile, hours, span(4))!
    expect(evidence.current.features['x']?.reduce((a, b) => a + b)).toBe(2_000)
    expect(evidence.previous?.features['x']?.reduce((a, b) => a + b)).toBe(2_000)
    expect(evidence.newest?.counts).toBe(hours[3]!.counts)
    expect(evidence.newest?.before['x']).toHaveLength(3)
    expect(evidence.reference).toBe(profile)
  })

  it('is absent without requests, and has no earlier window at the start', () => {
    expect(driftEvidenceAt(profile, hours, span(9))).toBeUndefined()
    expect(driftEvidenceAt(profile, hours, span(2))?.previous).toBeNull()
  })

  it('needs the history that its reference reaches back to', () => {
    expect(historyFromMs(span(10))).toBe(6 * hourMs)
    expect(referenceSpans(span(10), { referenceMs: 5 * hourMs })).toEqual([
      { fromMs: 3 * hourMs, toMs: 5 * hourMs },
    ])
    expect(referenceSpans(span(10), {})).toEqual([])
  })

  it('treats counts that do not match each other as missing', () => {
    const odd = { hourMs: 3 * hourMs, counts: { features: { x: [1, 2] } } }
    expect(driftEvidenceAt(profile, [hour(2), odd], span(4))?.current.features['x']).toEqual([])
  })
})

describe('tuned drift', () => {
  const drifted = [
    hour(0, { x: 0.2, y: 0.2 }),
    hour(1, { x: 0.2, y: 0.2 }),
    hour(2, { x: 0.2, y: 0.2 }),
    hour(3, { x: 0.2, y: 0.2 }),
  ]

  it('alarms by the defaults', () => {
    expect(levelsOf(judged(drifted, 4))).toEqual({ x: 'alarm', y: 'alarm' })
  })

  it('has its own limits for all features and for single ones', () => {
    expect(levelsOf(judged(drifted, 4, { warn: 50, alarm: 60 }))).toEqual({ x: 'stable', y: 'stable' })
    expect(levelsOf(judged(drifted, 4, { features: { x: { alarm: 60 } } }))).toEqual({
      x: 'warn',
      y: 'alarm',
    })
    expect(
      levelsOf(judged(drifted, 4, { warn: 50, alarm: 60, features: { y: { warn: 0.1, alarm: 0.2 } } })),
    ).toEqual({
      x: 'stable',
      y: 'alarm',
    })
  })

  it('does not judge an excluded feature, nor count it for the whole input', () => {
    const report = judged(drifted, 4, { exclude: ['x'], features: { y: { warn: 50, alarm: 60 } } })
    expect(levelsOf(report)).toEqual({ y: 'stable' })
    expect(report.dataset).toEqual({ level: 'stable', share: 0 })
    expect(report.level).toBe('stable')
  })

  it('compares with the rows served earlier, where there were enough', () => {
    const rhythm = [...drifted, hour(4), hour(5), hour(6, { x: 0.2, y: 0.2 }), hour(7, { x: 0.2, y: 0.2 })]
    expect(levelsOf(judged(rhythm, 8))).toMatchObject({ x: 'warn', y: 'warn' })
    expect(levelsOf(judged(rhythm, 8, { referenceMs: 6 * hourMs }))).toEqual({ x: 'stable', y: 'stable' })
    // At least 300 rows and 30 per bin; otherwise the training rows are the reference.
    const few = rhythm.map((each) =>
      each.hourMs < 4 * hourMs
        ? { ...each, counts: { features: { x: x.counts.map(() => 1), y: each.counts.features['y']! } } }
        : each,
    )
    expect(levelsOf(judged(few, 8, { referenceMs: 6 * hourMs }))).toEqual({ x: 'warn', y: 'stable' })
  })

  it('compares with the same weekdays of five weeks around last year, or each feature with a reference of its own', () => {
    const year = lastYearMs.flatMap((beforeMs) =>
      [6, 7].map((at): CountedHour => {
        const { counts } = hour(at, { x: 0.2, y: 0.2 })
        return { hourMs: at * hourMs - beforeMs, counts }
      }),
    )
    const season = [...year, hour(6, { x: 0.2, y: 0.2 }), hour(7, { x: 0.2, y: 0.2 })]
    expect(levelsOf(judged(season, 8, { referenceMs: lastYearMs }))).toEqual({ x: 'stable', y: 'stable' })
    expect(
      levelsOf(judged(season, 8, { referenceMs: lastYearMs, features: { x: { referenceMs: [] } } })),
    ).toEqual({ x: 'warn', y: 'stable' })
    expect(levelsOf(judged(season, 8, { features: { x: { referenceMs: lastYearMs } } }))).toEqual({
      x: 'stable',
      y: 'warn',
    })
    const { reference } = driftEvidenceAt(profile, season, span(8), { referenceMs: lastYearMs })!
    expect(reference.features[0]!.counts.reduce((sum, n) => sum + n)).toBe(10_000)
  })

  it('accepts the options of a model file', () => {
    const compiled = compileMonitor(
      () => {},
      {
        drift: {
          reference: '7 d',
          features: { x: { reference: 'same season last year' }, y: { reference: 'training' } },
        },
      },
      ['x', 'y'],
    )
    expect(referencesOf(compiled.drift)).toEqual([7 * 24 * hourMs, ...lastYearMs])
    expect(compiled.drift!.features!['y']).toEqual({ referenceMs: [] })
  })

  it('is refused with limits that cannot hold', () => {
    const issues = (drift: DriftTuning) => issuesOfMonitor({ ...defaultMonitorPolicy, drift })
    expect(
      issues({ warn: 0.1, alarm: 0.3, features: { x: { warn: 0.2 } }, referenceMs: 7 * 24 * hourMs }),
    ).toEqual([])
    expect(issues({ warn: 0.3 }).join()).toContain('alarm (0.2) is not below warn (0.3)')
    expect(issues({ warn: -1 }).join()).toContain('warn is a PSI above 0, not -1')
    expect(issues({ features: { x: { alarm: 0.05 } } }).join()).toContain(
      'features.x.alarm (0.05) is not below features.x.warn (0.1)',
    )
    expect(issues({ referenceMs: hourMs }).join()).toContain('the two periods would overlap')
    expect(issues({ features: { x: { referenceMs: hourMs } } }).join()).toContain(
      'the two periods would overlap',
    )
    expect(issues({ referenceMs: lastYearMs })).toEqual([])
  })
})

describe('a backtest', () => {
  it('says which subjects would have warned and alarmed, and since when', () => {
    const hours = Array.from({ length: 48 }, (_, at) => hour(at, at >= 40 && at < 44 ? { x: 0.2 } : {}))
    const history = { profile, hours, everyMs: hourMs, lengthMs: 2 * hourMs }
    const tested = backtestDrift(history)
    expect(tested).toMatchObject({ windows: 48, judged: 48, alerts: 1, alertsPerMonth: 15 })
    const subject = tested.subjects.find(({ name }) => name === 'x')
    expect(subject).toMatchObject({ alarmedMs: [expect.any(Number)] })
    // The hour after the change at the earliest, and while the windows still contain it.
    expect(subject!.alarmedMs[0]! / hourMs).toBeGreaterThanOrEqual(41)
    expect(subject!.alarmedMs[0]! / hourMs).toBeLessThanOrEqual(44)
    expect(backtestDrift(history, { alarm: 60, warn: 50 })).toMatchObject({
      alerts: 0,
      alertsPerMonth: 0,
      subjects: [],
    })
  })

  it('counts windows in alarm one after the other as one alert, since the first of them', () => {
    const hours = Array.from({ length: 72 }, (_, at) =>
      hour(at, (at >= 20 && at < 30) || (at >= 50 && at < 60) ? { x: 0.2 } : {}),
    )
    const tested = backtestDrift({ profile, hours, everyMs: hourMs, lengthMs: 2 * hourMs })
    const subject = tested.subjects.find(({ name }) => name === 'x')!
    expect(tested.alerts).toBe(2)
    expect(subject.alarms).toBeGreaterThan(10)
    expect(subject.alarmedMs).toHaveLength(2)
  })

  it('leaves out hours without requests, and has no rate without enough rows', () => {
    const hours = [{ hourMs: 0, counts: { features: { x: x.counts.map(() => 1) } } }]
    const tested = backtestDrift({ profile, hours, everyMs: hourMs, lengthMs: hourMs })
    expect(tested).toMatchObject({ windows: 1, judged: 0, alerts: 0, alertsPerMonth: null })
  })

  it('shuffles the hours to measure false alarms, however much the history drifts', () => {
    const steady = Array.from({ length: 120 }, (_, at) => hour(at))
    const history = { profile, hours: steady, everyMs: hourMs, lengthMs: 2 * hourMs }
    const measured = falseAlarms(history, {}, { rounds: 3 })
    expect(measured).toMatchObject({ within: 'day', rounds: 3, judged: 360, alerts: 0, perMonth: 0 })
    // No alarm in 360 windows: at most 720·(1 − 0.05^(1/360)) per month.
    expect(measured.atMost).toBeCloseTo(720 * (1 - 0.05 ** (1 / 360)), 6)
    const moved = steady.map((each) => ({ ...each, counts: hour(0, { x: 0.2 }).counts }))
    expect(backtestDrift({ ...history, hours: moved }).alerts).toBeGreaterThan(0)
    expect(falseAlarms({ ...history, hours: moved }, {}, { rounds: 3 }).alerts).toBe(0)
    const weeks = [0, 200, 400].map((at) => hour(at))
    expect(falseAlarms({ ...history, hours: weeks }, {}, { rounds: 1 }).within).toBe('week')
    expect(falseAlarms({ ...history, hours: [] })).toMatchObject({ judged: 0, perMonth: null, atMost: null })
  })
})

describe('a weekly cycle', () => {
  const [day, week] = [24, 168]
  const daily = (to: number) => ({ toMs: to * hourMs, lengthMs: day * hourMs, everyMs: hourMs })
  const isWeekend = (at: number) => Math.floor(at / day) % 7 >= 5
  /** Four weeks of 200 rows a day: `x` is higher on weekends, `y` is the weekday. */
  const trainedMs = Float64Array.from({ length: 5_600 }, (_, row) => row * 432_000)
  const valueOf = (name: string, at: number, shift = 0) =>
    name === 'y' ? (Math.floor(at / day) % 7) + shift : uniform() + (isWeekend(at) ? 0.3 : 0) + shift
  const trained = (name: string, times: Float64Array | undefined): NumberProfile => {
    const known = Array.from(trainedMs, (ms) => valueOf(name, Math.floor(ms / hourMs)))
    return withCycle(numberProfile(name, known), (row) => known[row]!, times)
  }
  const timed = { rows: 5_600, features: [trained('x', trainedMs), trained('y', trainedMs)] }
  const untimed = { rows: 5_600, features: [trained('x', undefined), trained('y', undefined)] }
  /** The hours of a period, with 50 rows each; `x` moves by `shift` from an hour on. */
  const served = (from: number, to: number, shift = 0, shiftAt = 0): CountedHour[] =>
    Array.from({ length: to - from }, (_, i) => {
      const at = from + i
      const counts = (each: NumberProfile) =>
        countBins(
          each,
          Array.from({ length: 50 }, () =>
            valueOf(each.name, at, each.name === 'x' && at >= shiftAt ? shift : 0),
          ),
        )
      return {
        hourMs: at * hourMs,
        counts: { features: Object.fromEntries(timed.features.map((each) => [each.name, counts(each)])) },
      }
    })
  const levels = (of: ReferenceProfile, hours: readonly CountedHour[], to: number, tuning?: DriftTuning) =>
    levelsOf(
      judgeDrift({
        importance: undefined,
        ...driftEvidenceAt(of, hours, daily(to), tuning)!,
      } as DriftEvidence),
    )
  /** The last hour of the Sunday of a week. */
  const sunday = (n: number) => n * week
  const firstWeek = served(0, week)
  const weeks = served(0, 3 * week)

  it('is measured in the training rows, and only there', () => {
    const [x, y] = timed.features
    expect(x!.cycle).toBeGreaterThan(0.3)
    expect(y!.cycle).toBeGreaterThan(1)
    expect([x!.spread, y!.spread]).toEqual([undefined, undefined])
    const steady = Array.from(trainedMs, () => uniform())
    expect(withCycle(numberProfile('z', steady), (row) => steady[row]!, trainedMs)).not.toHaveProperty(
      'cycle',
    )
  })

  it('alarms against the training rows alone, as a model file may ask', () => {
    expect(levels(timed, weeks, sunday(3), { referenceMs: [] })).toEqual({ x: 'alarm', y: 'alarm' })
  })

  it('is no drift in the first week, by the days of the training rows', () => {
    expect(levels(timed, firstWeek, sunday(1))).toEqual({ x: 'stable', y: 'stable' })
    expect(levels(untimed, firstWeek, sunday(1))).toEqual({ x: 'alarm', y: 'alarm' })
  })

  it('is no drift from the second week on, by the same hours of earlier weeks', () => {
    expect(levels(untimed, weeks, sunday(3))).toEqual({ x: 'stable', y: 'stable' })
    const report = driftEvidenceAt(untimed, weeks, daily(sunday(3)))
    expect(report?.weeks?.current?.counts.features['y']?.reduce((a, b) => a + b)).toBe(2 * day * 50)
  })

  it('hides no drift of its column, on weekends and on weekdays', () => {
    for (const to of [sunday(3), sunday(3) - 4 * day]) {
      const drifted = served(0, 3 * week, 0.3, to - 3 * day)
      for (const of of [timed, untimed]) expect(levels(of, drifted, to)).toMatchObject({ x: 'alarm' })
    }
  })

  it('needs nine tenths of the hours of an earlier week', () => {
    const partly = weeks.filter(({ hourMs: at }) => at / hourMs >= 2 * week - day / 2)
    expect(driftEvidenceAt(untimed, partly, daily(sunday(3)))?.weeks?.current).toBeUndefined()
  })

  it('counts no more than the weeks differ from each other', () => {
    const restless = [...served(0, week, 0.3), ...served(week, 2 * week), ...served(2 * week, 3 * week, 0.3)]
    expect(levels(untimed, restless, 3 * week - 3 * day)).toMatchObject({ x: 'stable' })
  })

  it('does not touch a feature with a reference of its own', () => {
    const tuning: DriftTuning = { features: { x: { referenceMs: [] } } }
    expect(levels(timed, weeks, sunday(3), tuning)).toEqual({ x: 'alarm', y: 'stable' })
  })
})
