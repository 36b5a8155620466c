/** Tests the gate on models that predict several numbers per row. */
import { describe, expect, it } from 'vitest'
import { bestOf } from '../../../domain/evaluation/anchor.ts'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { fourDigits, metricText } from '../../../domain/figures.ts'
import { comparedNumbers, naiveAnswers } from '../../../domain/evaluation/input.ts'
import { pick, score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy, issuesOfGate, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import { gateMarkdown } from '../../../domain/evaluation/report-markdown.ts'
import { judgeSlices } from '../../../domain/evaluation/slices.ts'
import { pointValue, seededRandom } from '@tenure/sequential'

const targets = ['departure', 'arrival']
const policy: GatePolicy = { ...defaultGatePolicy('multioutput'), targets, resamples: 200 }

const rows = 2_000
const chance = seededRandom(5)
const centre = Array.from({ length: rows }, () => [10 * chance(), 1_000 * chance()])
/** Row by row; the second number is a hundred times as large. */
const y = centre.flatMap(([a, b]) => [a! + chance(), b! + 100 * chance()])
const answers = (noise: readonly [number, number]) =>
  centre.map((row) => row.map((value, k) => value + [0.5, 50][k]! + noise[k]! * (chance() - 0.5)))
const right = answers([0, 0])
const noisyFirst = answers([8, 0])
const judge = (
  challenger: number[][],
  champion: number[][] | null,
  more: Partial<GatePolicy> = {},
  slices: { name: string; rows: number[] }[] = [],
) => judgeGate({ y, challenger, champion, slices }, { ...policy, ...more })

it('has a sound default policy', () => expect(issuesOfGate(policy)).toEqual([]))

describe('the metrics of several numbers', () => {
  const truths = [1, 10, 2, 30, 4, 20, 8, 50, 16, 40]
  const given = [
    [1.5, 12],
    [2, 28],
    [3, 25],
    [9, 44],
    [15, 41],
  ]
  const figureOf = (metric: 'r2' | 'mae' | 'rmse') =>
    pointValue(statisticOf(metric, score('multioutput', truths, given, policy)), given.length)

  it('are the means over the numbers, as scikit-learn has them (multioutput="uniform_average")', () => {
    expect(figureOf('r2')).toBeCloseTo(0.9540793010752688, 12)
    expect(figureOf('mae')).toBeCloseTo(1.95, 12)
    expect(figureOf('rmse')).toBeCloseTo(2.2739415808018983, 12)
  })

  it('of selected rows are those of these rows', () => {
    const whole = score('multioutput', truths, given, policy)
    const alone = score('multioutput', truths.slice(4), given.slice(2), policy)
    for (const metric of ['r2', 'mae', 'rmse'] as const)
      expect(pointValue(statisticOf(metric, pick(whole, [2, 3, 4])), 3)).toBe(
        pointValue(statisticOf(metric, alone), 3),
      )
  })

  it('are undefined where one of them is', () => {
    const same = [1, 10, 2, 10, 4, 10]
    const scored = score('multioutput', same, given.slice(0, 3), policy)
    expect(pointValue(statisticOf('r2', scored), 3)).toBeNull()
    expect(pointValue(statisticOf('mae', scored), 3)).not.toBeNull()
  })
})

it('releases a challenger that is better only in a small number', () => {
  const better = judge(right, noisyFirst)
  expect(better).toMatchObject({ verdict: 'better', rows, positives: null, calibration: null })
  expect(better.metrics.map(({ metric }) => metric)).toEqual(['r2', 'rmse', 'mae'])
  expect(judge(noisyFirst, right).verdict).toBe('not_better')
  expect(judge(right, right).verdict).toBe('not_worse')
})

it('draws the rows of one entity together', () => {
  const entities = Array.from({ length: rows }, (_, row) => row >> 1)
  const report = judgeGate({ y, challenger: right, champion: noisyFirst, entities }, policy)
  expect(report.verdict).toBe('better')
  expect(judgeGate({ y, challenger: right, champion: null, entities: [1] }, policy).reasons).toMatchObject([
    { code: 'entities_unreadable' },
  ])
})

it('counts rows and not numbers', () => {
  const report = judge(right, null, { evidence: { ...policy.evidence, rows: rows + 1 } })
  expect(report.reasons).toMatchObject([{ code: 'few_rows', values: { have: rows, need: rows + 1 } }])
})

it('expects more than the means of all rows', () => {
  const [naive] = naiveAnswers(y, policy, 2)
  expect(naive![0]).toBeCloseTo(5.5, 0)
  expect(naive![1]! / 550).toBeCloseTo(1, 1)
  expect(
    judge(
      centre.map(() => naive!),
      null,
    ).verdict,
  ).toBe('not_better')
})

describe('a slice', () => {
  const slices = [{ name: 'first', rows: Array.from({ length: 500 }, (_, at) => at) }]
  const shifted = (a: number, b: number) =>
    right.map((row, at) => (at < 500 ? [row[0]! + a, row[1]! + b] : row))
  const verdicts = (challenger: number[][], champion: number[][] | null = right) =>
    judge(challenger, champion, { slices: { metric: 'mae', points: 0.02, alpha: 0.05 } }, slices).slices.map(
      ({ name, verdict }) => `${name}: ${verdict}`,
    )

  it('is judged number by number, so that a large one does not hide a small one', () => {
    expect(verdicts(right)).toEqual(['first (departure): ok', 'first (arrival): ok'])
    // The mean of both errors rises by less than the limit of 2 %.
    expect(verdicts(shifted(0.6, 0))).toEqual(['first (departure): blocked', 'first (arrival): ok'])
    expect(verdicts(shifted(0, 200))).toEqual(['first (departure): ok', 'first (arrival): blocked'])
    expect(verdicts(right, null)).toEqual(['first (departure): ok', 'first (arrival): ok'])
  })

  it('without rows is one finding', () => {
    const { reasons } = judge(right, right, {}, [{ name: 'none', rows: [] }])
    expect(reasons).toMatchObject([{ code: 'slice_missing', values: { slice: 'none' } }])
  })

  it('of ten numbers of equal models is blocked as rarely as of one', () => {
    const uniform = seededRandom(31)
    const targets = Array.from({ length: 10 }, (_, k) => `n${k}`)
    const members = 250
    const drawn = () => Array.from({ length: members }, () => targets.map(() => uniform()))
    const runs = 300
    let blocked = 0
    for (let run = 0; run < runs; run++) {
      const scores = () =>
        score('multioutput', new Float64Array(members * targets.length), drawn(), { ...policy, targets })
      const rows = judgeSlices(
        [{ name: 'all', rows: Array.from({ length: members }, (_, at) => at) }],
        scores(),
        scores(),
        { ...policy, targets, slices: { metric: 'mae', points: 0, alpha: 0.05 } },
      )
      if (rows.some(({ verdict }) => verdict === 'blocked')) blocked++
    }
    // Half of α: a slice that is better is not blocked. The bound is exceeded once in 10,000 seeds.
    expect(blocked / runs).toBeLessThan(0.025 + 3.72 * Math.sqrt((0.025 * 0.975) / runs))
  })
})

it('measures a metric of the model file with all numbers of a row', () => {
  const custom = { worst: { better: 'lower', guard: true } } as const
  const worst = (truths: readonly number[], given: readonly (number | readonly number[])[]) =>
    Math.max(...given.map((row, at) => Math.abs((row as number[])[1]! - truths[2 * at + 1]!)))
  const report = judgeGate({ y, challenger: right, champion: noisyFirst }, { ...policy, custom }, { worst })
  const row = report.metrics.find(({ metric }) => metric === 'worst')!
  expect(row.challenger).toBeCloseTo(50, 0)
  expect(row.champion).toBeCloseTo(row.challenger!, 10)
})

it('cannot compare models with another number of numbers, and names the row of an unreadable one', () => {
  const one = right.map((row) => row.slice(1))
  expect(judge(one, right)).toMatchObject({
    verdict: 'not_better',
    reasons: [{ message: 'the challenger gives 1 numbers a row, the label has 2' }],
  })
  expect(judge(right, one).verdict).toBe('insufficient')
  const holes = y.map((value, at) => (at === 7 ? NaN : value))
  expect(judgeGate({ y: holes, challenger: right, champion: null }, policy).reasons).toMatchObject([
    { code: 'label_unreadable', message: 'row 3 has the label NaN' },
  ])
})

describe('a champion of other numbers', () => {
  const three = [...targets, 'taxi']
  const only = (of: number[][], place: number) => of.map((row) => [row[place]!])
  const judged = (champion: number[][], more: Partial<GatePolicy> = {}) =>
    judgeGate(
      {
        y: y.flatMap((value, at) => (at % 2 === 0 ? [value] : [value, value])),
        challenger: right.map(([a, b]) => [a!, b!, b!]),
        champion,
        anchor: champion,
        numbers: comparedNumbers(
          { kind: 'numbers', names: three },
          { kind: 'numbers', names: ['gate', 'departure'] },
        ),
        slices: [{ name: 'first', rows: Array.from({ length: 500 }, (_, at) => at) }],
      },
      { ...policy, targets: three, ...more },
      { worst: () => 1 },
    )

  it('is compared in the numbers of both, and the report names the others', () => {
    const report = judged(only(noisyFirst, 0))
    expect(report).toMatchObject({
      verdict: 'better',
      warnings: [
        {
          code: 'numbers_not_compared',
          message:
            'compared with the champion in departure alone; not compared: arrival, taxi, which the champion does not answer; gate, which only the champion answers',
        },
      ],
    })
    expect(report.slices.map(({ name, p }) => [name, p === null])).toEqual([
      ['first (departure)', false],
      ['first (arrival)', true],
      ['first (taxi)', true],
    ])
    const [r2] = report.metrics
    const alone = judgeGate(
      { y: y.filter((_, at) => at % 2 === 0), challenger: only(right, 0), champion: only(noisyFirst, 0) },
      { ...policy, targets: ['departure'] },
    ).metrics[0]!
    expect([r2!.champion, r2!.beside, r2!.delta]).toEqual([alone.champion, alone.challenger, alone.delta])
    expect(r2!.challenger).not.toBe(r2!.beside)
    expect(report.reasons[0]!.message).toContain(`R² ${fourDigits(r2!.beside!)} vs champion`)
    const page = gateMarkdown(report, {
      model: 'm',
      challenger: 'c',
      champion: 'b',
      asOf: 'now',
      snapshot: 's',
    })
    expect(page).toContain(`(${metricText(r2!.beside)} of the compared numbers)`)
    expect(page).toContain('not compared: arrival, taxi')
  })

  it('stops a challenger that is worse in them, however good the others are', () => {
    const exact = only(
      centre.map((row, at) => row.map((_, k) => y[2 * at + k]!)),
      0,
    )
    expect(judged(exact)).toMatchObject({ verdict: 'not_better' })
  })

  it('is not compared by a metric of the model file, which the report says', () => {
    const custom = { worst: { better: 'lower', guard: true } } as const
    const report = judged(only(noisyFirst, 0), { custom })
    expect(report.metrics.find(({ metric }) => metric === 'worst')).toMatchObject({ champion: null })
    expect(report.warnings[0]!.message).toMatch(/; worst, which need all numbers$/)
  })

  it('with the same numbers in another order, or with none of them, has none to name', () => {
    const of = (...names: string[]) => ({ kind: 'numbers', names }) as const
    expect(comparedNumbers(of('a', 'b'), of('b', 'a'))).toBeUndefined()
    expect(comparedNumbers(of('a', 'b'), of('c'))).toBeUndefined()
    expect(comparedNumbers(of('b', 'a'), of('a', 'b', 'c'))).toEqual({
      compared: ['b', 'a'],
      added: [],
      removed: ['c'],
    })
  })
})

it('anchors on the best release', () =>
  expect(
    bestOf(
      [
        { version: 'a', answers: noisyFirst },
        { version: 'b', answers: right },
        { version: 'c', answers: right.map((row) => row.slice(1)) },
      ],
      y,
      policy,
    )?.version,
  ).toBe('b'))
