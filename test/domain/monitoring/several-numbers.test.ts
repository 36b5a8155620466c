/** Tests that drift is evaluated for each number of an answer, by its name, with the level of a single number. */
import { describe, expect, it } from 'vitest'
import {
  countBins,
  numberProfile,
  type NumberProfile,
  type ReferenceProfile,
} from '../../../domain/model/reference-profile.ts'
import { backtestDrift } from '../../../domain/monitoring/drift-backtest.ts'
import { driftEvidenceAt, type CountedHour } from '../../../domain/monitoring/drift-history.ts'
import {
  answerRows,
  defaultDriftPolicy,
  judgeDrift,
  labelRows,
  type DriftReport,
} from '../../../domain/monitoring/drift.ts'
import type { DriftWindow } from '../../../domain/monitoring/drift-window.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'

const uniform = seededRandom(23)
const normal = () => standardNormal(uniform)
const values = (n: number, shift = 0) => Array.from({ length: n }, () => normal() + shift)
/** A single number is named like the profile of a single answer. */
const names = ['departure', 'score', 'arrival']
const profiles = names.map((name) => numberProfile(name, values(5_000)))
const x = numberProfile('x', values(5_000))
const reference: ReferenceProfile = { rows: 5_000, features: [x], scores: profiles, labels: profiles }
const counts = (of: readonly NumberProfile[], rows: number, shifts: Record<string, number> = {}) =>
  Object.fromEntries(of.map((each) => [each.name, countBins(each, values(rows, shifts[each.name]))]))
/** Builds a window as `windowOf` reads it: the field "score" holds the counts of that name. */
function answers(shifts: Record<string, number>, rows = 600): DriftWindow {
  const { score, ...scores } = counts(profiles, rows, shifts)
  return { features: counts([x], rows), score, scores }
}
const labels = (shifts: Record<string, number>): DriftWindow => ({
  features: {},
  labels: counts(profiles, 600, shifts),
})
const levels = (rows: DriftReport['features']) =>
  Object.fromEntries(rows.map(({ name, level }) => [name, level]))

describe('drift of several numbers', () => {
  it.each(names)('of answers is found in %s alone, by its name', (name) => {
    const [current, previous] = [answers({ [name]: 0.8 }), answers({ [name]: 0.8 })]
    const report = judgeDrift({ reference, current, previous })
    expect(levels(answerRows(report))).toEqual({
      ...Object.fromEntries(names.map((each) => [each, 'stable'])),
      [name]: 'alarm',
    })
    expect(report).toMatchObject({ level: 'alarm', score: null, label: null })
    expect(report.reasons).toMatchObject([
      {
        code: 'score_drift_alarm',
        message: expect.stringContaining(`score "${name}" has drifted`) as string,
      },
    ])
    expect(levels(report.features)).toEqual({ x: 'stable' })
  })

  it('of labels is found in the third alone, by its name', () => {
    const reference: ReferenceProfile = { rows: 5_000, features: [], labels: profiles }
    const report = judgeDrift({
      reference,
      current: labels({ arrival: 0.8 }),
      previous: labels({ arrival: 0.8 }),
    })
    expect(levels(labelRows(report))).toEqual({ departure: 'stable', score: 'stable', arrival: 'alarm' })
    expect(report.reasons).toMatchObject([{ code: 'label_drift_alarm', values: { name: 'arrival' } }])
  })

  it('leaves out a number that was not counted, also one named as what objects inherit', () => {
    const [first] = profiles
    const both = [{ ...first!, name: 'constructor' }, first!]
    const counted = counts([first!], 600)
    for (const previous of [null, { features: {}, scores: counted, labels: counted }]) {
      const report = judgeDrift({
        reference: { rows: 5_000, features: [], scores: both, labels: both },
        current: { features: {}, scores: counted, labels: counted },
        previous,
      })
      expect(report).toMatchObject({ level: 'stable', reasons: [] })
      expect(levels([...answerRows(report), ...labelRows(report)])).toEqual({ departure: 'stable' })
    }
  })

  it('of a number whose counts do not match its bins is unreadable', () => {
    const current = answers({})
    const report = judgeDrift({
      reference,
      current: { ...current, scores: { ...current.scores, arrival: [1, 2] } },
      previous: null,
    })
    expect(report.reasons).toMatchObject([{ code: 'score_unreadable', values: { name: 'arrival' } }])
  })
})

describe('recorded hours of several numbers', () => {
  const hourMs = 3_600_000
  const hour = (at: number, shifts: Record<string, number> = {}): CountedHour => ({
    hourMs: at * hourMs,
    counts: answers(shifts),
  })
  const span = { toMs: 8 * hourMs, lengthMs: 2 * hourMs, everyMs: hourMs }
  const drifted = Array.from({ length: 8 }, (_, at) => hour(at, at < 4 ? {} : { arrival: 0.8 }))

  it('are added up by number', () => {
    const { current } = driftEvidenceAt(reference, drifted, span)!
    const all = [current.score!, current.scores!['departure']!, current.scores!['arrival']!]
    expect(all.map((each) => each.reduce((a, b) => a + b))).toEqual([1_200, 1_200, 1_200])
  })

  it('are compared with the answers of an earlier time, each number with its own', () => {
    const evidence = driftEvidenceAt(reference, drifted, span, { referenceMs: 4 * hourMs })!
    expect(evidence.reference.scores!.map((each) => each.counts)).toEqual(
      names.map((name) => {
        const [a, b] = [2, 3].map((at) => drifted[at]!.counts)
        const of = ({ score, scores }: DriftWindow) => (name === 'score' ? score : scores![name])!
        return of(a!).map((count, bin) => count + of(b!)[bin]!)
      }),
    )
  })

  it('name the number in a backtest', () => {
    const tested = backtestDrift({
      profile: reference,
      hours: drifted,
      everyMs: hourMs,
      lengthMs: 2 * hourMs,
    })
    expect(tested.subjects.filter(({ alarms }) => alarms > 0)).toMatchObject([{ name: 'arrival' }])
  })

  it('show a sudden change of one number', () => {
    const long = { ...span, toMs: 24 * hourMs, lengthMs: 24 * hourMs }
    const hours = Array.from({ length: 24 }, (_, at) => hour(at, at < 23 ? {} : { arrival: 1.5 }))
    const report = judgeDrift(driftEvidenceAt(reference, hours, long)!)
    expect(answerRows(report).filter(({ sudden }) => sudden)).toMatchObject([{ name: 'arrival', rows: 600 }])
  })
})

/** Windows with the minimum number of rows, without drift. The PSI limits are lowered to 0, so only the significance level decides. */
it.each([1, 5, 40])(
  'a window without drift says that one of %i numbers has drifted at most as often as it may for one',
  (width) => {
    const chance = seededRandom(100 + width)
    const profile = { ...x, counts: [...Array.from({ length: 10 }, () => 1_000_000), 0] }
    const scores = Array.from({ length: width }, (_, k) => ({ ...profile, name: `n${k}` }))
    const drawn = () => {
      const bins = profile.counts.map(() => 0)
      for (let row = 0; row < 330; row++) bins[Math.floor(10 * chance())]!++
      return bins
    }
    const policy = { ...defaultDriftPolicy, warn: 1e-9, alarm: 1e-9 }
    const windows = width === 40 ? 500 : 2_000
    let warned = 0
    for (let window = 0; window < windows; window++) {
      const current = {
        features: {},
        scores: Object.fromEntries(scores.map(({ name }) => [name, drawn()])),
      }
      const { level } = judgeDrift(
        { reference: { rows: 1e7, features: [], scores }, current, previous: null },
        policy,
      )
      if (level === 'warn') warned++
    }
    // p < 0.01 in a window: the bound is exceeded once in 10,000 seeds at that level.
    expect(warned / windows).toBeLessThan(0.01 + 3.72 * Math.sqrt((0.01 * 0.99) / windows))
  },
)
