import { describe, expect, it } from 'vitest'
import type { AnswerMatrix } from '../../../domain/metrics/answers.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import type { GateInput } from '../../../domain/evaluation/input.ts'
import { gateIssues } from '../../../domain/release/certificate.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { seededRandom, standardNormal } from '@tenure/sequential'

const rows = 1_500
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

/** Generates rows with known true log odds; a model sees them with its own noise. */
function world(seed = 1) {
  const uniform = seededRandom(seed)
  const normal = () => standardNormal(uniform)
  const odds = Array.from({ length: rows }, () => -1 + 1.5 * normal())
  const y = odds.map((odd) => (uniform() < sigmoid(odd) ? 1 : 0))
  const model = (noise: number) => odds.map((odd) => [sigmoid(odd + noise * normal())])
  return { uniform, y, model }
}

const { uniform, y, model } = world()
const good = model(0.4)
const middling = model(1.2)
const poor = model(3)
const policy: GatePolicy = { ...defaultGatePolicy('binary'), resamples: 60, calibration: 'off' }
const indices = (holds: (i: number) => boolean) => y.map((_, i) => i).filter(holds)

const judge = (input: Partial<GateInput>, more: Partial<GatePolicy> = {}) =>
  judgeGate({ y, challenger: good, champion: middling, ...input }, { ...policy, ...more })
const told = (...args: Parameters<typeof judge>) => {
  const { verdict, reasons } = judge(...args)
  return [verdict, ...reasons.map(({ code }) => code)]
}

describe('a challenger', () => {
  it('is better when the whole interval of its gain is above 0', () => {
    const report = judge({})
    expect(report.verdict).toBe('better')
    expect(report.reasons.map(({ code }) => code)).toEqual(['better'])
    expect(report.metrics[0]).toMatchObject({ metric: 'auc', method: 'delong', verdict: 'better' })
    expect(report.metrics[0]!.low).toBeGreaterThan(0)
  })

  it('that is the champion is not worse, and never better', () => {
    const report = judge({ challenger: middling })
    expect([report.verdict, report.needsPerson]).toEqual(['not_worse', false])
    const judged = report.metrics.filter(({ verdict }) => verdict !== 'reported')
    expect(judged.every(({ delta, verdict }) => delta === 0 && verdict === 'not_worse')).toBe(true)
  })

  it('that agrees with the champion on every row is certain only within the rule of three', () => {
    const accuracy = (report: ReturnType<typeof judge>) =>
      report.metrics.find(({ metric }) => metric === 'accuracy')
    const same = accuracy(judge({ challenger: middling }, { primary: 'accuracy' }))
    const reach = 1 - 0.025 ** (1 / rows)
    expect(same?.delta).toBe(0)
    expect(same?.low).toBeCloseTo(-reach, 10)
    expect(same?.high).toBeCloseTo(reach, 10)
    const few = { y: y.slice(0, 40), challenger: middling.slice(0, 40), champion: middling.slice(0, 40) }
    const evidence = { ...policy.evidence, rows: 40, positives: 5, negatives: 5 }
    expect(accuracy(judge(few, { primary: 'accuracy', evidence }))?.verdict).toBe('not_better')
    const margins = { ...policy.margins, accuracy: 0.1 }
    expect(accuracy(judge(few, { primary: 'accuracy', evidence, margins }))?.verdict).toBe('not_worse')
  })

  it('with one disagreement is not more certain than with none', () => {
    const one = middling.map(([p], i) => [i === y.indexOf(1) ? 0.99 : p!])
    const lows = [middling, one].map(
      (challenger) => judge({ challenger }).metrics.find(({ metric }) => metric === 'accuracy')?.low ?? 0,
    )
    expect(lows[1]! - lows[0]!).toBeLessThanOrEqual(1 / rows + 1e-12)
  })

  it('is compared with what champion and anchor decide by their own thresholds', () => {
    const accuracies = (thresholds: GateInput['thresholds']) =>
      judge(
        { challenger: middling, anchor: middling, thresholds },
        { primary: 'accuracy', threshold: 0.05 },
      ).metrics.find(({ metric }) => metric === 'accuracy')
    const { challenger } = accuracies({})!
    const { champion } = accuracies({ champion: 0.5 })!
    expect(accuracies({})!.champion).toBe(challenger)
    expect(champion!).toBeGreaterThan(challenger! + 0.1)
    expect(
      judge({ challenger: middling, thresholds: { champion: 0.5 } }, { primary: 'accuracy', threshold: 0.05 })
        .verdict,
    ).toBe('not_better')
  })

  it('that is worse is not better', () => {
    expect(told({ challenger: poor })).toEqual(['not_better', 'primary_not_better'])
  })

  it('trained on shuffled labels is not better, not even than the baseline', () => {
    const shuffled = good.map((_, i) => good[(i * 7 + 11) % rows]!)
    expect(told({ challenger: shuffled })).toEqual(['not_better', 'primary_not_better', 'baseline_not_met'])
  })

  it('that may be worse by more than the margin is not better, however small the difference', () => {
    const almost = middling.map(([p], i) => [i % 50 === 0 ? 1 - p! : p!])
    expect(told({ challenger: almost }, { margins: { auc: 0 } })[0]).toBe('not_better')
    expect(told({ challenger: almost }, { margins: { auc: 0.2 } })[0]).toBe('not_worse')
  })

  it('must not be worse in a guarded metric', () => {
    const overconfident = good.map(([p]) => [p! > 0.5 ? 0.999 : 0.001])
    const guards: GatePolicy['guards'] = ['brier']
    expect(told({ challenger: overconfident, champion: poor }, { guards })).not.toContain('guard_not_better')
    expect(told({ challenger: overconfident, champion: good }, { guards })).toContain('guard_not_better')
  })

  it('gives the same report for the same input', () => {
    expect(judge({})).toEqual(judge({}))
  })
})

describe('answers in one array', () => {
  const matrixOf = (answers: readonly (readonly number[])[]): AnswerMatrix => ({
    rows: answers.length,
    width: answers[0]!.length,
    values: Float64Array.from(answers.flat()),
  })
  it('are judged as lists are', () => {
    const slices = [{ name: 'even', rows: indices((i) => i % 2 === 0) }]
    const lists = { challenger: good, champion: middling, anchor: poor }
    const matrices = {
      challenger: matrixOf(good),
      champion: matrixOf(middling),
      anchor: matrixOf(poor),
    }
    expect(
      judge({ ...matrices, slices: [{ name: 'even', rows: Uint32Array.from(slices[0]!.rows) }] }),
    ).toEqual(judge({ ...lists, slices }))
  })

  it('are refused when one is not finite', () => {
    const strange = matrixOf(good)
    strange.values[4] = NaN
    expect(judge({ challenger: strange }).reasons[0]!.message).toBe(
      'predictions of the challenger: row 4 is not finite',
    )
  })
})

describe('evidence', () => {
  it.each([
    ['rows', 999, 'few_rows'],
    ['positives', 1_500, 'few_positives'],
  ])('of too few %s decides nothing', (_, keep, code) => {
    const labels = code === 'few_rows' ? y.slice(0, keep) : y.map((label, i) => (i < 120 ? label : 0))
    const cut = { y: labels, challenger: good.slice(0, keep), champion: middling.slice(0, keep) }
    expect(told(cut)).toEqual(['insufficient', code])
  })

  it('without one class or without rows has no verdict, and does not throw', () => {
    expect(told({ y: y.map(() => 0) })).toEqual(['insufficient', 'few_positives'])
    expect(told({ y: [], challenger: [], champion: [] })).toContain('no_rows')
  })

  it.each([
    [
      'a challenger that is not finite',
      { challenger: good.map((row, i) => (i === 5 ? [NaN] : row)) },
      'not_better',
      'challenger_unreadable',
    ],
    [
      'a challenger outside 0 to 1',
      { challenger: good.map((row, i) => (i === 5 ? [1.2] : row)) },
      'not_better',
      'challenger_unreadable',
    ],
    ['a challenger that skipped a row', { challenger: good.slice(1) }, 'not_better', 'challenger_unreadable'],
    [
      'a challenger with three outputs',
      { challenger: good.map(() => [0.2, 0.3, 0.5]) },
      'not_better',
      'challenger_unreadable',
    ],
    [
      'probabilities that sum to 2',
      { challenger: good.map(() => [1, 1]) },
      'not_better',
      'challenger_unreadable',
    ],
    [
      'a champion that is not finite',
      { champion: good.map(() => [Infinity]) },
      'insufficient',
      'champion_unreadable',
    ],
    [
      'a label that is no class',
      { y: y.map((label, i) => (i === 9 ? 7 : label)) },
      'insufficient',
      'label_unreadable',
    ],
    [
      'groups of other rows',
      { groups: [{ attribute: 'sex', values: ['f'] }] },
      'insufficient',
      'groups_unreadable',
    ],
    ['entities of other rows', { entities: ['a'] }, 'insufficient', 'entities_unreadable'],
    [
      '51 slices',
      { slices: Array.from({ length: 51 }, (_, i) => ({ name: `s${i}`, rows: [1] })) },
      'not_better',
      'too_many_slices',
    ],
  ] as [string, Partial<GateInput>, string, string][])('with %s is refused', (_, input, verdict, code) => {
    expect(told(input)).toEqual([verdict, code])
  })
})

it('a report with slices that are not judged, a floor that both miss and a narrow margin follows from its tables', () => {
  const slices = [{ name: 'few', rows: indices((i) => i < 40) }]
  const narrow = judge({ challenger: model(1.2), slices }, { floors: { auc: 0.99 }, margins: { auc: 0.001 } })
  const passing = judge({ slices }, { floors: { auc: 0.99 } })
  expect(passing.warnings.map(({ code }) => code)).toContain('slices_unjudged')
  for (const report of [narrow, passing])
    expect(
      gateIssues({ report: JSON.parse(JSON.stringify(report)) as typeof report, inputs: { leakage: {} } }),
    ).toEqual([])
})

describe('a floor', () => {
  const floors = { auc: 0.99 }

  it('that both versions miss asks a person, with both figures', () => {
    const report = judge({}, { floors })
    expect([report.verdict, report.needsPerson]).toEqual(['better', true])
    expect(report.reasons.map(({ code }) => code)).toEqual(['floor_missed_by_both', 'better'])
    expect(report.reasons[0]!.message).toMatch(
      /^AUC 0\.\d{4} misses its floor, and so does the champion's 0\.\d{4} on the same rows: ≥ 0\.99 required, an approver decides$/,
    )
  })

  it('that only the challenger misses, or misses by more than the champion and the margin, stops it', () => {
    const [own, old] = judge({}, { floors }).metrics.map(({ challenger, champion }) => [
      challenger!,
      champion!,
    ])[0]!
    const between = { floors: { auc: (own! + old!) / 2 } }
    expect(told({ challenger: middling, champion: good }, between)).toContain('floor_missed')
    expect(told({ challenger: poor, champion: middling }, { floors })).toContain('floor_missed')
    // A floor in a metric that decides nothing else is no smaller reason.
    expect(
      told({ challenger: poor, champion: middling }, { floors: { brier: 0.01 }, margins: { auc: 1 } }),
    ).toContain('floor_missed')
  })
})

describe('the first version of a model', () => {
  const first = { champion: null }
  it('meets its floors and beats the baseline', () => {
    expect(told(first, { floors: { auc: 0.7, brier: 0.25 } })).toEqual(['better', 'first_version'])
  })

  it('is stopped by a floor, in the direction of the metric', () => {
    expect(told(first, { floors: { auc: 0.99 } })).toEqual(['not_better', 'floor_missed'])
    expect(told(first, { floors: { brier: 0.01 } })).toEqual(['not_better', 'floor_missed'])
  })

  it('has no champion to share a missed floor with', () => {
    expect(judge(first, { floors: { auc: 0.99 } }).needsPerson).toBe(false)
  })

  it('is stopped when no floor is declared', () => {
    expect(told(first)).toEqual(['not_better', 'no_floor'])
  })

  it('is stopped when it is no better than the class shares', () => {
    const constant = y.map(() => [0.3])
    expect(told({ ...first, challenger: constant }, { floors: { auc: 0.5 } })).toEqual([
      'not_better',
      'baseline_not_met',
    ])
    expect(told({ ...first, baseline: good, challenger: middling }, { floors: { auc: 0.5 } })).toContain(
      'baseline_not_met',
    )
  })
})

describe('a challenger is stopped', () => {
  it('when it has degraded below the anchor', () => {
    const anchored = { challenger: middling, champion: middling, anchor: good }
    expect(told(anchored)).toEqual(['not_better', 'anchor_not_met'])
    expect(judge(anchored).reasons[0]!.message).toMatch(/^AUC [\d.]+ vs best release of 90 days [\d.]+: /)
    expect(told({ anchor: middling })).toEqual(['better', 'better'])
  })

  it('not by an anchor when it is better than the champion, which is worse than the anchor too', () => {
    expect(
      told({ challenger: middling, champion: poor, anchor: good }).filter((code) => code !== 'too_good'),
    ).toEqual(['better', 'better'])
  })

  it('when it is five points worse on a slice', () => {
    const night = indices((i) => i % 4 === 0)
    const spoiled = good.map(([p], i) => [i % 4 === 0 && i % 3 === 0 ? 1 - p! : p!])
    const report = judge(
      { challenger: spoiled, champion: good, slices: [{ name: 'night', rows: night }] },
      { margins: { auc: 1 } },
    )
    expect(report.reasons[0]!.message).toMatch(
      /^slice "night": AUC 0\.\d{4} vs .* p < 0\.001 for "the loss is at most 0\.02", below 0\.05$/,
    )
    expect(report.slices[0]).toMatchObject({ name: 'night', rows: 375, verdict: 'blocked' })
    expect(report.slices[0]!.delta).toBeLessThan(-0.05)
  })

  it('when a declared slice has no row', () => {
    expect(told({ slices: [{ name: 'moon', rows: [] }] })).toEqual(['not_better', 'slice_missing'])
  })

  it('not by a slice that is too small', () => {
    const report = judge(
      { challenger: middling, champion: good, slices: [{ name: 'few', rows: [1, 2, 3] }] },
      { margins: { auc: 1 } },
    )
    expect(report.slices[0]).toMatchObject({ verdict: 'insufficient', p: null, adjustedP: null })
    expect(report.verdict).toBe('not_worse')
  })

  it('when its probabilities are not calibrated', () => {
    const sharp = good.map(([p]) => [sigmoid(4 * Math.log(p! / (1 - p!)))])
    const calibration = { ece: 0.05, overChampion: 0.02 }
    expect(told({ challenger: sharp }, { calibration })).toEqual(['not_better', 'calibration'])
    expect(judge({ challenger: sharp }, { calibration }).reasons[0]!.message).toMatch(
      /^calibration error 0\.\d+ is above the limit 0\.05 \(evaluation\.calibration\) and more than 0\.02 above the champion's 0\.\d+$/,
    )
    expect(told({ challenger: sharp, champion: sharp }, { calibration })).toEqual(['not_worse', 'not_worse'])
    expect(told({ challenger: good }, { calibration })).toEqual(['better', 'better'])
  })

  it('not by its calibration where its Brier score is better with certainty', () => {
    const calibration = { ece: 0.001, overChampion: 0 }
    const share = y.reduce<number>((sum, label) => sum + label, 0) / y.length
    const champion = y.map(() => [share])
    const leakage = { ...policy.leakage, gain: 1 }
    const report = judge({ challenger: good, champion }, { calibration, leakage })
    expect(report.metrics.find(({ metric }) => metric === 'brier')?.verdict).toBe('better')
    expect([report.verdict, ...report.reasons.map(({ code }) => code)]).toEqual(['better', 'better'])
    expect(report.warnings.map(({ code }) => code)).toContain('calibration')
  })

  it('when it certainly treats a group differently', () => {
    const values = y.map((_, i) => (i % 2 === 0 ? 'a' : 'b'))
    const unfair = good.map(([p], i) => [i % 2 === 0 ? p! : p! * 0.6])
    const groups = [{ attribute: 'origin', values }]
    const report = judge({ challenger: unfair, groups })
    expect(report.reasons.map(({ code }) => code)).toContain('fairness')
    expect(report.fairness[0]!.measures[0]!.estimate.high).toBeLessThan(1)
    expect(told({ challenger: good, groups })).toEqual(['better', 'better'])
  })

  it('when it treats a group differently, whatever a group without positives says', () => {
    // The first 120 rows of a third group have no positive, or a single one that is not found.
    const negatives = indices((i) => y[i] === 0).slice(0, 120)
    const [positive] = indices((i) => y[i] === 1 && i % 2 === 1)
    const third = new Set(negatives)
    const values = y.map((_, i) => (third.has(i) ? 'c' : i % 2 === 0 ? 'a' : 'b'))
    const unfair = y.map((label, i) => [label === 1 ? (i % 2 === 0 ? 0.9 : 0.3) : 0.2])
    const judgedWith = (groups: string[], challenger: number[][]) =>
      judge({ challenger, groups: [{ attribute: 'origin', values: groups }] }).fairness[0]!
    expect(judgedWith(values, unfair)).toMatchObject({
      measures: [{}, { name: 'true-positive rate', estimate: { value: 1 } }, {}],
      verdict: 'blocked',
    })
    const fair = y.map((label, i) => [label === 1 && i !== positive ? 0.9 : 0.2])
    const withOne = values.map((group, i) => (i === positive ? 'c' : group))
    expect(judgedWith(withOne, fair).measures[1]!.estimate).toMatchObject({ value: 0 })
  })

  it.each([
    ['rows that were trained on', { rowOverlap: 0.002 }, 'leak_rows'],
    [
      'copies of rows that were trained on',
      { equalRows: { features: 0.7, withLabel: 0.7, isCopied: true } },
      'leak_rows',
    ],
    ['entities that were trained on', { entityOverlap: 0.002 }, 'leak_entities'],
    ['labels known before their features', { labelNotAfterFeature: 1 }, 'leak_time'],
    ['a feature that holds the label', { featureAuc: [{ feature: 'paid', auc: 0.999 }] }, 'leak_feature'],
    [
      'a feature that holds its opposite',
      { featureAuc: [{ feature: 'unpaid', auc: 0.001 }] },
      'leak_feature',
    ],
    [
      'a feature that holds a label that is a number',
      { featureCorrelation: [{ feature: 'invoice', correlation: 0.995 }] },
      'leak_feature',
    ],
  ])('by %s, even on few rows', (_, leakage, code) => {
    expect(told({ leakage })).toEqual(['not_better', code])
    const few = { y: y.slice(0, 500), challenger: good.slice(0, 500), champion: middling.slice(0, 500) }
    expect(told({ ...few, leakage })).toEqual(['not_better', code])
  })

  it('by a feature whose absence tells the label, with what was found', () => {
    const leakage = { featureAuc: [{ feature: 'closed_at', auc: 0.9991, ofMissing: true as const }] }
    expect(judge({ leakage }).reasons.map(({ message }) => message)).toEqual([
      'whether "closed_at" is missing has AUC 0.9991, limit 0.99: it may contain the label',
    ])
  })

  it('not by differences below the limits', () => {
    const featureAuc = [
      { feature: 'a', auc: 0.9 },
      { feature: 'b', auc: null },
    ]
    expect(
      told({ leakage: { rowOverlap: 0.0005, entityOverlap: 0, labelNotAfterFeature: 0, featureAuc } })[0],
    ).toBe('better')
  })
})

describe('an approver is told', () => {
  const warningsOf = (leakage: object) =>
    judge({ leakage }).warnings.map(({ code, message }) => [code, message])
  it('of a feature that predicts the label nearly alone', () => {
    const featureAuc = [
      { feature: 'balance', auc: 0.06 },
      { feature: 'size', auc: 0.89 },
      { feature: 'closed_at', auc: 0.93, ofMissing: true },
    ]
    expect(warningsOf({ featureAuc })).toEqual([
      [
        'feature_alone',
        '"balance" alone has AUC 0.9400 with the label: check that it is known before the label is',
      ],
      [
        'feature_alone',
        'whether "closed_at" is missing has AUC 0.9300 with the label: check that it is known before the label is',
      ],
    ])
  })

  it('of equal rows that are no certain leak: few, with other labels, or of a split by time', () => {
    const told = [expect.arrayContaining(['equal_rows']) as unknown]
    expect(warningsOf({ equalRows: { features: 0.02, withLabel: 0.01, isCopied: false } })).toEqual(told)
    expect(warningsOf({ equalRows: { features: 0.4, withLabel: 0, isCopied: true } })).toEqual(told)
    const byTime = { features: 0.4, withLabel: 0.4, isCopied: true, isByTime: true as const }
    expect(warningsOf({ equalRows: byTime })).toEqual(told)
    expect(judge({ leakage: { equalRows: byTime } }).verdict).toBe('better')
    expect(warningsOf({ equalRows: { features: 0.9, withLabel: 0.8, isCopied: false } })).toEqual([])
    expect(warningsOf({ equalRows: { features: 0.002, withLabel: 0.001, isCopied: false } })).toEqual([])
  })
})

describe('an approver is asked', () => {
  it('when the gain is implausibly high', () => {
    const report = judge({ champion: poor })
    expect([report.verdict, report.needsPerson]).toEqual(['better', true])
    expect(report.reasons[0]!.code).toBe('too_good')
  })

  it('to distrust a test set that has decided twenty times', () => {
    expect(judge({ testSetUses: 19 }).warnings).toEqual([])
    expect(judge({ testSetUses: 20 }).warnings.map(({ code }) => code)).toEqual(['test_set_worn'])
  })

  it('to distrust test rows that repeat few different ones, or have other shares of the classes', () => {
    const classShift = { label: 1, train: 0.014, test: 0.38 }
    const [warning, shift] = judge({ leakage: { differentRows: 9, classShift } }).warnings
    expect(shift?.message).toMatch(
      /^38 % of the test rows and 1\.4 % of the training rows are positive: .*"matured"/,
    )
    expect(warning).toMatchObject({ code: 'rows_repeat', values: { differentRows: 9 } })
    expect(warning!.message).toMatch(/ are 9 different ones many times over, .* as "key" of the source/)
  })

  it('to review a difference between groups that may be chance', () => {
    const other = world(4)
    const challenger = other.model(0.4).map(([p], i) => [i % 2 === 0 ? 0.9 * p! : p!])
    const groups = [{ attribute: 'half', values: other.y.map((_, i) => (i % 2 === 0 ? 'one' : 'other')) }]
    const report = judge({ y: other.y, challenger, champion: other.model(1.2), groups })
    expect(report.verdict).toBe('better')
    expect(report.warnings.map(({ code }) => code)).toEqual(['fairness_doubtful'])
    const { value, high } = report.fairness[0]!.measures[0]!.estimate
    expect([value! < 0.8, high! > 0.8]).toEqual([true, true])
  })
})

describe('fairness that is not defined', () => {
  it('is null, never 0, and does not block', () => {
    const values = y.map((_, i) => (i % 3 === 0 ? null : i % 3 === 1 ? 'a' : 'b'))
    const never = y.map(() => [0.1])
    const row = judge({ challenger: never, groups: [{ attribute: 'x', values }] }).fairness[0]!
    expect(row.measures[0]!.estimate).toEqual({ value: null, low: null, high: null })
    expect(row.measures[1]!.estimate.value).toBe(0)
    expect(row.groups.map(({ group }) => group)).toEqual(['a', 'b'])
    const small = judge({ groups: [{ attribute: 'x', values: y.map((_, i) => (i < 50 ? 'a' : 'b')) }] })
      .fairness[0]!
    expect(small.verdict).toBe('undefined')
    expect(small.groups.find(({ group }) => group === 'a')!.judged).toBe(false)
  })
})

describe('rows of one entity', () => {
  it('are drawn together, which widens the interval', () => {
    // Ten copies of each of 150 rows carry the information of 150 rows.
    const at = y.map((_, i) => i % 150)
    const copy = <T>(list: T[]) => at.map((i) => list[i]!)
    const input = { y: copy(y), challenger: copy(good), champion: copy(middling) }
    const width = ({ metrics }: ReturnType<typeof judge>) => metrics[0]!.high! - metrics[0]!.low!
    const naive = judge(input)
    const honest = judge({ ...input, entities: at })
    expect(honest.metrics[0]!.method).toBe('bootstrap')
    expect(width(honest)).toBeGreaterThan(2.5 * width(naive))
    expect(judge({ entities: y.map((_, i) => i) }).metrics[0]!.method).toBe('delong')
  })
})

describe('other tasks', () => {
  const classes = y.map((label, i) => (i % 3 === 0 ? 2 : label))
  const sure = (right: number) =>
    classes.map((label) => {
      const answer = uniform() < right ? label : (label + 1) % 3
      return [0, 1, 2].map((k) => (k === answer ? 0.8 : 0.1))
    })
  it('three classes, by accuracy', () => {
    const three = {
      ...defaultGatePolicy('multiclass'),
      calibration: 'off' as const,
      resamples: 60,
      guards: ['macroF1' as const, 'logLoss' as const],
    }
    const report = judgeGate({ y: classes, challenger: sure(0.85), champion: sure(0.8) }, three)
    expect(report.verdict).toBe('better')
    expect(report.metrics.map(({ metric, method }) => [metric, method])).toEqual([
      ['accuracy', 'mcnemar'],
      ['macroF1', 'bootstrap'],
      ['logLoss', 'bootstrap'],
      ['brier', 'bootstrap'],
    ])
    const worse = judgeGate({ y: classes, challenger: sure(0.7), champion: sure(0.8) }, three)
    expect(worse.verdict).toBe('not_better')
    const other = judgeGate({ y: classes, challenger: sure(0.8), champion: good }, three)
    expect(other.reasons.map(({ code }) => code)).toContain('champion_unreadable')
  })

  it('a number, by its error', () => {
    const target = y.map((label, i) => 10 * label + (i % 7))
    const guess = (noise: number) => target.map((value) => [value + noise * (uniform() - 0.5)])
    const number = {
      ...defaultGatePolicy('regression'),
      resamples: 60,
      guards: ['mae' as const, 'r2' as const],
    }
    const report = judgeGate({ y: target, challenger: guess(1), champion: guess(2) }, number)
    expect(report.verdict).toBe('better')
    expect(report.metrics[0]).toMatchObject({ metric: 'rmse', higherIsBetter: false, verdict: 'better' })
    expect(report.positives).toBeNull()
    const slices = [{ name: 'odd', rows: target.map((_, i) => i).filter((i) => i % 2 === 1) }]
    const worse = judgeGate({ y: target, challenger: guess(2), champion: guess(1), slices }, number)
    expect(worse.reasons.map(({ code }) => code)).toEqual([
      'primary_not_better',
      'guard_not_better',
      'guard_not_better',
      'slice_worse',
    ])
    const mean = judgeGate({ y: target, challenger: target.map(() => [5]), champion: guess(9) }, number)
    expect(mean.reasons.map(({ code }) => code)).toContain('baseline_not_met')
    const outside = judgeGate(
      { y: target, challenger: guess(1), champion: guess(2) },
      { ...number, range: { min: 0, max: 10 } },
    )
    expect(outside.verdict).toBe('not_better')
    expect(outside.reasons[0]).toMatchObject({
      code: 'challenger_out_of_range',
      message: expect.stringMatching(
        /answers \d+ of \d+ rows outside of the label's min 0 and max 10 \(.*relu.*poisson or tweedie/,
      ) as string,
    })
    const inside = judgeGate(
      { y: target, challenger: guess(1), champion: guess(2) },
      { ...number, range: { min: -1 } },
    )
    expect(inside.verdict).toBe('better')
  })
})

describe('a metric of squared errors', () => {
  const draw = seededRandom(5)
  const sign = () => (draw() < 0.5 ? -1 : 1)
  const errors = (error: () => number) => Array.from({ length: 3_000 }, () => [sign() * error()])
  const judged = (error: () => number, metric: 'rmse' | 'r2' | 'mae') => {
    const champion = errors(error)
    const truths = champion.map((_, row) => row / 100)
    const answers = (given: number[][]) => given.map(([each], row) => [truths[row]! + each!])
    return judgeGate(
      { y: truths, champion: answers(champion), challenger: answers(errors(error)) },
      { ...defaultGatePolicy('regression'), primary: metric, resamples: 60 },
    ).warnings.map(({ code, message }) => [code, message] as const)
  }
  const pareto = () => draw() ** (-1 / 1.5)

  it('is a warning where ten rows carry half of it', () => {
    const heavy = judged(pareto, 'rmse')
    expect(heavy.map(([code]) => code)).toContain('heavy_tails')
    expect(heavy.map(([, message]) => message).join()).toMatch(
      /10 of 3,000 test rows carry [5-9]\d(\.\d)? % of the squared error: RMSE says little of the others/,
    )
    expect(judged(pareto, 'r2').map(([code]) => code)).toContain('heavy_tails')
  })

  it('gives no warning for errors of a usual spread, and for a metric that does not square them', () => {
    expect(judged(draw, 'rmse')).toEqual([])
    expect(judged(pareto, 'mae')).toEqual([])
  })
})
