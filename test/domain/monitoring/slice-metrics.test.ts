/** Tests each limit on slices, calibration and fairness, on rows with known figures. */
import { describe, expect, it } from 'vitest'
import { judgeBreakdown, type BreakdownEvidence } from '../../../domain/monitoring/slice-metrics.ts'
import { score } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { seededRandom } from '@tenure/sequential'
import type { BusinessPolicy } from '../../../domain/monitoring/policy.ts'

const policy = {
  ...defaultGatePolicy('binary'),
  slices: { metric: 'accuracy', points: 0.02, alpha: 0.05 },
} as const

const keysOf = (rows: number) => Array.from({ length: rows }, (_, i) => `key ${i}`)
/** What the gate found on a thousand rows of each slice. */
const evaluated = (slices: Record<string, number>): BreakdownEvidence['baseline']['slices'] =>
  Object.fromEntries(Object.entries(slices).map(([name, challenger]) => [name, { challenger, rows: 1_000 }]))

/** Generates a thousand rows in each half; every `wrong`-th prediction of the second half is wrong. Each has probability 0.8. */
function evidence({ wrong = 5, sure = 0.8 }: { wrong?: number; sure?: number } = {}): BreakdownEvidence {
  const y = Array.from({ length: 2_000 }, (_, i) => i % 2)
  const right = (i: number) => i % (i < 1_000 ? 5 : wrong) !== 0
  const answers = y.map((truth, i) => [right(i) === (truth === 1) ? sure : 1 - sure])
  const rows = (from: number) => Array.from({ length: 1_000 }, (_, i) => from + i)
  return {
    scored: score('binary', y, answers, { threshold: 0.5 }),
    routingKeys: keysOf(2_000),
    slices: [
      { name: 'morning', rows: rows(0) },
      { name: 'evening', rows: rows(1_000) },
      { name: 'night', rows: [1, 2, 3] },
    ],
    groups: [{ attribute: 'half', values: y.map((_, i) => (i < 1_000 ? 'first' : 'second')) }],
    baseline: { slices: evaluated({ morning: 0.8, evening: 0.8, night: 0.8 }), ece: 0.01 },
  }
}
const business: BusinessPolicy = { name: 'saved', unit: '$', perPrediction: '1', warn: 2, alarm: 1 }
const codes = (given: BreakdownEvidence, worth?: BusinessPolicy) =>
  judgeBreakdown(given, policy, worth).findings.map(({ code, severity }) => `${severity} ${code}`)

describe('the slices of several numbers', () => {
  const several = { ...defaultGatePolicy('multioutput'), targets: ['near', 'far'] }
  /** The error of each number is uniform up to twice its mean; the error of `far` is a hundred times that of `near`. */
  const given = (near: number, slices: Record<string, number>): BreakdownEvidence => ({
    scored: score(
      'multioutput',
      new Float64Array(2_000),
      Array.from({ length: 1_000 }, (_, i) => [(near * 2 * i) / 999, (200 * i) / 999]),
      several,
    ),
    routingKeys: keysOf(1_000),
    slices: [{ name: 'evening', rows: Array.from({ length: 1_000 }, (_, i) => i) }],
    groups: [],
    baseline: { slices: evaluated(slices), ece: null },
  })
  const levels = (evidence: BreakdownEvidence) =>
    judgeBreakdown(evidence, several).slices.map(({ name, level }) => `${name}: ${level}`)

  it('are judged by number, and a small one that is worse is named', () => {
    const baseline = { 'evening (near)': 1, 'evening (far)': 100 }
    expect(levels(given(1, baseline))).toEqual(['evening (near): held', 'evening (far): held'])
    expect(levels(given(1.5, baseline))).toEqual(['evening (near): lost', 'evening (far): held'])
  })

  it('keep an alert open that names a number of one that cannot be evaluated', () => {
    const measured = given(1, { 'evening (near)': 1, 'evening (far)': 100, 'night (near)': 1 })
    const slices = [...measured.slices, { name: 'night', rows: 'no such column' }]
    const clearedOf = (name: string) =>
      judgeBreakdown({ ...measured, slices, open: { quality_slice: [name] } }, several).cleared
    expect(clearedOf('night (near)')).toEqual([])
    expect(clearedOf('evening (near)')).toEqual(['quality_slice'])
  })
})

describe('the slices of a window', () => {
  it('raise no alert while each is as good as at the gate', () => {
    const report = judgeBreakdown(evidence(), policy)
    expect(report.findings).toEqual([])
    expect(report.cleared).toEqual(['quality_slice', 'quality_calibration', 'quality_fairness'])
    expect(report.slices).toMatchObject([
      { name: 'morning', level: 'held', value: 0.8, baseline: 0.8, rows: 1_000 },
      { name: 'evening', level: 'held', value: 0.8 },
      { name: 'night', level: 'insufficient', rows: 3 },
    ])
    expect(report.calibration?.ece).toBeCloseTo(0, 10)
  })

  it('are reported by name when one is certainly worse by more than the limit', () => {
    const report = judgeBreakdown(evidence({ wrong: 3 }), policy)
    expect(report.slices.map(({ level }) => level)).toEqual(['held', 'lost', 'insufficient'])
    const [lost] = report.findings.filter(({ code }) => code === 'quality_slice')
    expect(lost?.message).toBe(
      'slices certainly worse by more than 0.02: evening: Accuracy 0.667 on 1,000 rows, 0.8 at evaluation',
    )
    // 75 % is worse by more than the limit, but not with certainty on a thousand rows after correction: 0.8 − 0.02 − 2.2 σ.
    expect(judgeBreakdown(evidence({ wrong: 4 }), policy).slices[1]).toMatchObject({ value: 0.75 })
    const few = {
      ...evidence({ wrong: 4 }),
      slices: [{ name: 'evening', rows: Array.from({ length: 240 }, (_, i) => 1_000 + i) }],
    }
    expect(codes(few)).not.toContain('warning quality_slice')
  })

  it('of a metric where lower is better have a limit relative to the value of the evaluation', () => {
    const by = { ...policy, slices: { ...policy.slices, metric: 'brier' } } as const
    const given = { ...evidence({ wrong: 2 }), baseline: { slices: evaluated({ evening: 0.16 }), ece: 0.5 } }
    const [lost] = judgeBreakdown(given, by).findings
    expect(lost?.message).toBe(
      'slices certainly worse by more than 2 %: evening: Brier score 0.34 on 1,000 rows, 0.16 at evaluation',
    )
  })

  it('are not lost by the rows of few routing keys, which are alike', () => {
    const given = evidence({ wrong: 3 })
    const count = { right: 0, wrong: 0 }
    const { y, predicted } = given.scored
    const routingKeys = Array.from(y, (truth, i) => {
      const kind = predicted[i] === truth ? 'right' : 'wrong'
      return `${kind} ${Math.floor(count[kind]++ / 10)}`
    })
    expect(judgeBreakdown({ ...given, routingKeys }, policy).slices[1]).toMatchObject({ level: 'doubtful' })
  })

  it('of an unchanged model are lost in at most one of a thousand windows', () => {
    const uniform = seededRandom(4)
    const draw = (rows: number) => {
      const chances = Array.from({ length: rows }, () => 0.02 + 0.12 * uniform())
      const y = chances.map((chance) => (uniform() < chance ? 1 : 0))
      return score(
        'binary',
        y,
        chances.map((chance) => [chance]),
        policy,
      )
    }
    const brier = ({ y, score: p }: ReturnType<typeof draw>) =>
      y.reduce((sum, truth, i) => sum + (p[i]! - truth) ** 2 / y.length, 0)
    const by = { ...policy, slices: { ...policy.slices, metric: 'brier', points: 0.03 } } as const
    const levels = Array.from({ length: 200 }, () => {
      const slices = { all: { challenger: brier(draw(500)), rows: 500 } }
      const rows = Array.from({ length: 1_000 }, (_, i) => i)
      const window = { scored: draw(1_000), routingKeys: keysOf(1_000), slices: [{ name: 'all', rows }] }
      return judgeBreakdown({ ...window, groups: [], baseline: { slices, ece: null } }, by).slices[0]!.level
    })
    // Four of 200 have a probability of 5 in 100,000 at one of a thousand.
    expect(levels.filter((level) => level === 'lost').length).toBeLessThan(4)
    expect(levels).toContain('held')
  })

  it('keep an alert open that names one in doubt, and resolve it when that one holds', () => {
    const worse = evidence({ wrong: 4 })
    const report = judgeBreakdown(worse, policy)
    expect(report.slices.map(({ level }) => level)).toEqual(['held', 'doubtful', 'insufficient'])
    expect(report.doubtful[0]?.message).toBe(
      'slices not certainly worse by more than 0.02: evening: Accuracy 0.75 on 1,000 rows, 0.8 at evaluation',
    )
    const isResolved = (names: string[]) =>
      judgeBreakdown({ ...worse, open: { quality_slice: names } }, policy).cleared.includes('quality_slice')
    expect(['evening', 'morning', 'night', 'no longer a slice'].map((name) => isResolved([name]))).toEqual([
      false,
      true,
      false,
      true,
    ])
  })

  it('in an open alert that do not hold yet are still named beside one that is newly lost', () => {
    const given = { ...evidence({ wrong: 3 }), open: { quality_slice: ['morning', 'night'] } }
    const [finding] = judgeBreakdown(given, policy).findings
    expect(Object.keys(finding!.values).sort()).toEqual(['evening', 'night'])
  })

  it('that cannot be evaluated have a reason, and do not affect others', () => {
    const given = {
      ...evidence({ wrong: 3 }),
      slices: [{ name: 'sky', rows: 'no such column' }, ...evidence().slices],
    }
    const report = judgeBreakdown(given, policy)
    expect(report.problems).toEqual(['sky: no such column'])
    expect(report.slices.map(({ level }) => level)).toEqual(['unreadable', 'held', 'lost', 'insufficient'])
  })

  it('are overconfident when their calibration error exceeds the limit, and the earlier error', () => {
    const sure = evidence({ sure: 0.9 })
    expect(codes(sure)).toEqual(['warning quality_calibration'])
    expect(codes({ ...sure, baseline: { ...sure.baseline, ece: 0.09 } })).toEqual([])
    // Also when a single caller has sent all requests.
    expect(codes({ ...sure, routingKeys: sure.routingKeys.map(() => 'one key') })).toEqual([
      'warning quality_calibration',
    ])
    const off = judgeBreakdown(sure, { ...policy, calibration: 'off' })
    expect([off.findings, off.calibration]).toEqual([[], null])
  })

  it('keep an alert of fairness open that names a group in doubt', () => {
    const given = evidence()
    // 57 % of the first group and 43 % of the second are selected: a ratio of 0.75.
    const count = { yes: 0, no: 0 }
    const values = Array.from(given.scored.predicted, (yes) => {
      const isFirst = yes === 1 ? (count.yes++ * 572) % 1_000 < 572 : (count.no++ * 428) % 1_000 < 428
      return isFirst ? 'first' : 'second'
    })
    const groups = [{ attribute: 'group', values }]
    const judged = (names: string[]) =>
      judgeBreakdown({ ...given, groups, open: { quality_fairness: names } }, policy)
    expect(judged([]).fairness.map(({ verdict }) => verdict)).toEqual(['doubtful'])
    expect(judged([]).doubtful.map(({ code }) => code)).toEqual(['quality_fairness'])
    expect(judged([]).cleared).toContain('quality_fairness')
    expect(judged(['group']).cleared).not.toContain('quality_fairness')
  })

  it('keep an alert of fairness open that names a column that cannot be determined', () => {
    const given = evidence()
    const few = { ...policy, fairness: { ...policy.fairness, selectionRatio: 0.1, rateDifference: 0.9 } }
    const groups = [...given.groups, { attribute: 'age', values: 'no such column "age"' }]
    const clearedOf = (name: string) =>
      judgeBreakdown({ ...given, groups, open: { quality_fairness: [name] } }, few).cleared
    expect(clearedOf('age')).not.toContain('quality_fairness')
    expect(clearedOf('half')).toContain('quality_fairness')
  })

  it('resolve the alerts of what the model file no longer declares', () => {
    const none = { ...evidence(), slices: [], groups: [] }
    const off = { ...policy, calibration: 'off' } as const
    const open = {
      quality_slice: ['evening'],
      quality_calibration: ['value'],
      quality_fairness: ['half'],
      business_value: ['mean'],
    }
    expect(judgeBreakdown({ ...none, open }, off).cleared).toEqual(Object.keys(open))
    expect(judgeBreakdown(none, off).cleared).toEqual([])
  })

  it.each([
    ['calibrated', 300, 0],
    ['off by the limit', 1_000, 0.05],
    ['off by twice the limit', 4_000, 0.1],
  ])('of a model that is %s, on %i rows, say so with certainty', (_name, rows, shift) => {
    const uniform = seededRandom(rows)
    const few = { ...policy, evidence: { ...policy.evidence, rows: 300 } }
    const windows = Array.from({ length: 100 }, () => {
      const p = Array.from({ length: rows }, () => 0.2 + 0.6 * uniform())
      const scored = score(
        'binary',
        p.map((each) => (uniform() < each - shift ? 1 : 0)),
        p.map((each) => [each]),
        few,
      )
      const window = { scored, routingKeys: keysOf(rows), slices: [], groups: [] }
      return judgeBreakdown({ ...window, baseline: { slices: {}, ece: 0.01 } }, few)
    })
    const found = windows.filter(({ findings }) => findings.length > 0).length
    const doubtful = windows.filter(({ doubtful: open }) => open.length > 0).length
    if (shift > 0.05) expect(found).toBeGreaterThan(95)
    else expect([found, doubtful > 0]).toEqual([0, true])
  })

  it('are unfair when a group is certainly treated differently', () => {
    const given = evidence()
    const chosen = (i: number) => given.scored.predicted[i] === 1 || i % 4 === 0
    const values = Array.from(given.scored.y, (_, i) => (chosen(i) ? 'a' : 'b'))
    expect(codes({ ...given, groups: [{ attribute: 'group', values }] })).toEqual([
      'warning quality_fairness',
    ])
  })

  it.each([
    ['what they were worth is above its limits', 2, undefined, []],
    ['it is below the first', 1.9, undefined, ['warning business_value']],
    ['it is below the second', 0.5, undefined, ['critical business_value']],
    [
      'less is better and it is more',
      3,
      { warn: 1, alarm: 4, lowerIsBetter: true },
      ['warning business_value'],
    ],
    ['there are no limits', -9, { warn: undefined, alarm: undefined }, []],
  ])('are told when %s', (_name, worth, change, wanted) => {
    const given = { ...evidence(), worth: Array.from({ length: 2_000 }, () => worth) }
    expect(codes(given, { ...business, ...change } as BusinessPolicy)).toEqual(wanted)
    const report = judgeBreakdown(given, policy, business)
    expect(report.business).toMatchObject({ mean: worth, rows: 2_000, total: 2_000 * worth })
  })

  it('are in doubt when their worth is below its limit, perhaps by chance', () => {
    const given = { ...evidence(), worth: Array.from({ length: 2_000 }, (_, i) => (i % 2) * 3.96) }
    const report = judgeBreakdown(given, policy, business)
    expect(report.findings).toEqual([])
    expect(report.doubtful.map(({ message }) => message)).toEqual([
      'saved 1.98 $ per prediction over 2000 matured outcomes: not certainly below the limit 2',
    ])
    expect(report.cleared).not.toContain('business_value')
  })

  it('keep an open alarm while their worth is below the second limit, perhaps by chance', () => {
    const given = { ...evidence(), worth: Array.from({ length: 2_000 }, (_, i) => (i % 2) * 1.96) }
    expect(codes(given, business)).toEqual(['warning business_value'])
    const report = judgeBreakdown({ ...given, open: { business_value: ['mean'] } }, policy, business)
    expect(report.findings).toEqual([])
    expect(report.doubtful.map(({ message }) => message)).toEqual([
      'saved 0.98 $ per prediction over 2000 matured outcomes: certainly below the limit 2, not certainly below 1',
    ])
    expect(report.cleared).not.toContain('business_value')
  })

  it.each([200, 500])(
    'do not miss a limit by chance where one of 100 rows has a value, on %i rows',
    (rows) => {
      const uniform = seededRandom(rows)
      const y = Array.from({ length: rows }, () => 0)
      const window = {
        scored: score(
          'binary',
          y,
          y.map(() => [0.1]),
          policy,
        ),
        routingKeys: keysOf(rows),
        slices: [],
        groups: [],
        baseline: { slices: {}, ece: null },
      }
      const by = { ...policy, calibration: 'off' } as const
      const windows = Array.from({ length: 300 }, () => {
        const worth = y.map(() => (uniform() < 0.01 ? 100 : 0))
        return judgeBreakdown({ ...window, worth }, by, { ...business, warn: 1, alarm: 1 })
      })
      // Four of 300 have a probability of 0.03 % at one of a thousand.
      expect(windows.filter(({ findings }) => findings.length > 0).length).toBeLessThan(4)
    },
  )

  it('alarm when no row of a large window has a value', () => {
    const given = { ...evidence(), worth: Array.from({ length: 2_000 }, () => 0) }
    expect(codes(given, business)).toEqual(['critical business_value'])
  })

  it('have a reason when their metric is unknown', () => {
    const report = judgeBreakdown({ ...evidence(), worth: 'no such column "fee"' }, policy, business)
    expect(report.business).toMatchObject({ mean: null })
    expect(report.problems).toEqual(['saved: no such column "fee"'])
  })
})
