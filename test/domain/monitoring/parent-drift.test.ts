import { describe, expect, it } from 'vitest'
import { seededRandom } from '@tenure/sequential'
import { judgeFidelity } from '../../../domain/evaluation/fidelity.ts'
import {
  falseAlarmsAYear,
  judgeParentDrift,
  type ParentDriftJudgement,
  type ParentDriftState,
} from '../../../domain/monitoring/parent-drift.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const yearMs = 31_557_600_000
const versions = { version: 'm_v1.1.0', parent: 'm_v1.0.0' }
const output: Output = { kind: 'probability', positive: 'yes', threshold: 0.5 }
const policy = { epsilon: 0.02, flips: 0.01, alpha: 0.05 }

/** The comparison of a window in which this share of the decisions differs, each by a distance of 0.2. */
function window(rows: number, flips: number, chance: () => number, limits = policy) {
  const parent = Array.from({ length: rows }, () => [0.6])
  const child = parent.map(() => [chance() < flips ? 0.4 : 0.6])
  const slices = [{ name: 'all', rows: parent.map((_, i) => i) }]
  const report = judgeFidelity({ parent, child, version: { output }, slices, policy: limits })
  return { report, logE: report.slices[0]!.evidence }
}
const judge = (
  compared: Parameters<typeof judgeParentDrift>[1],
  before?: ParentDriftState,
): ParentDriftJudgement => judgeParentDrift(versions, compared, { before, everyMs: 3_600_000 })

describe('the answers of a compressed champion', () => {
  it('raise an alarm within two windows when three times as many decisions differ as its gate allows', () => {
    const chance = seededRandom(1)
    const calm = judge(window(1_000, 0.002, chance))
    expect(calm).toMatchObject({ level: 'ok', isAway: false })
    const one = judge(window(1_000, 0.03, chance), calm)
    const last = one.isAway ? one : judge(window(1_000, 0.03, chance), one)
    expect(last).toMatchObject({ level: 'away', isAway: true })
    expect(last.reasons[0]).toMatch(
      /^answers of m_v1\.1\.0 moved away from those of its parent m_v1\.0\.0: mean distance 0\.\d+ % \(limit 2 %\), other decisions [23]\.?\d* % \(limit 1 %\) in 1,000 logged rows: logE \d+(\.\d+)? ≥ 13\.68$/,
    )
  })

  it('are called alike only where the rows of a window prove it', () => {
    const chance = seededRandom(8)
    const [many, few] = [judge(window(1_000, 0, chance)), judge(window(60, 0.05, chance))]
    expect(many.reasons[0]).toMatch(/^m_v1\.1\.0 answers like its parent m_v1\.0\.0: mean distance 0 %/)
    expect([few.level, few.reasons[0]]).toEqual([
      'ok',
      expect.stringMatching(
        /^m_v1\.1\.0 is not proven to differ from its parent m_v1\.0\.0 beyond the limits: mean distance .*: logE \S+ < 13\.68$/,
      ),
    ])
  })

  it('keep an alarm until a window proves that they are equal again, and begin anew', () => {
    const chance = seededRandom(2)
    const away = judge(window(3_000, 0.05, chance))
    expect(away.level).toBe('away')
    // 100 equal answers prove nothing.
    const few = judge(window(100, 0, chance), away)
    expect(few.level).toBe('away')
    expect(judge({ reason: 'no logged rows to compare on' }, few)).toMatchObject({
      level: 'insufficient',
      isAway: true,
    })
    expect(judge(window(1_000, 0, chance), few)).toMatchObject({ level: 'ok', isAway: false, evidence: 0 })
  })

  it('end an alarm by windows together, each of which has too few rows to prove it', () => {
    let last = judge(window(3_000, 0.05, seededRandom(5)))
    const chance = seededRandom(6)
    const levels: string[] = []
    for (let n = 0; n < 6 && last.isAway; n++) {
      const few = window(300, 0, chance)
      expect(few.report.verdict).toBe('insufficient')
      last = judge(few, last)
      levels.push(last.level)
    }
    expect(levels.slice(0, 1)).toEqual(['away'])
    expect(levels.at(-1)).toBe('ok')
    // Those that go on differing as much never do.
    last = judge(window(3_000, 0.05, seededRandom(7)))
    for (let n = 0; n < 20; n++) last = judge(window(300, 0.03, chance), last)
    expect(last.level).toBe('away')
  })

  describe('in a slice', () => {
    /** One row in twenty is of the slice, where every other decision differs: over all that is within a limit of 5 %. */
    const limits = { epsilon: 0.05, flips: 0.05, alpha: 0.05 }
    const windowOf = (flips: number, chance: () => number) => ({
      ...window(1_000, flips / 20, chance, limits),
      slices: [{ name: 'old', compared: window(50, flips, chance, limits) }, { name: 'none' }],
    })

    it('raise an alarm that the mean over all rows hides, and end it by rows of the slice', () => {
      const chance = seededRandom(9)
      const away = judge(windowOf(0.5, chance))
      expect(away).toMatchObject({
        level: 'away',
        isAway: false,
        slices: { old: { isAway: true, evidence: 0 }, none: { isAway: false, evidence: 0 } },
      })
      expect(away.reasons).toEqual([
        expect.stringMatching(
          /^answers of m_v1\.1\.0 moved away from those of its parent m_v1\.0\.0 in the slice old: .* in 50 logged rows: logE \S+ ≥ 14\.78$/,
        ),
      ])
      // Equal answers to other rows end nothing.
      const none = { ...window(1_000, 0, chance, limits), slices: [{ name: 'old' }, { name: 'none' }] }
      const still = judge(none, away)
      expect([still.level, still.reasons[0]]).toEqual([
        'away',
        expect.stringMatching(/ in the slice old: no rows in this window$/),
      ])
      let last = still
      for (let n = 0; n < 4 && last.level === 'away'; n++) last = judge(windowOf(0, chance), last)
      expect(last).toMatchObject({ level: 'ok', slices: { old: { isAway: false, evidence: 0 } } })
    })

    it('share the false alarms of a year', () => {
      const alone = judge(window(300, 0.01, seededRandom(10)))
      const shared = judge({ ...window(300, 0.01, seededRandom(10)), slices: [{ name: 'old' }] })
      const limitOf = ({ reasons }: ParentDriftJudgement) => Number(/< (\S+)$/.exec(reasons[0]!)![1])
      expect(limitOf(shared) - limitOf(alone)).toBeCloseTo(Math.log(2), 1)
    })
  })

  it('of another version have no past', () => {
    const away = judge(window(3_000, 0.05, seededRandom(3)))
    const other = judge(window(100, 0, seededRandom(4)), { ...away, version: 'm_v1.2.0' })
    expect(other).toMatchObject({ level: 'ok', isAway: false })
  })

  it('at the limit raise a false alarm in a year at most as often as stated', () => {
    const [years, windows] = [80, 40]
    // A different decision has the distance 0.2, so both means are at their limits.
    const limits = { ...policy, epsilon: 0.2 * policy.flips }
    let alarms = 0
    for (let year = 0; year < years; year++) {
      const chance = seededRandom(1_000 + year)
      let last: ParentDriftJudgement | undefined
      for (let n = 0; n < windows && last?.isAway !== true; n++)
        last = judgeParentDrift(versions, window(50, policy.flips, chance, limits), {
          before: last,
          everyMs: yearMs / windows,
        })
      if (last!.isAway) alarms++
    }
    // At the bound, 6 or more come once in two thousand such tests.
    expect(alarms).toBeLessThan(6)
    expect(falseAlarmsAYear).toBe(0.01)
  })
})
