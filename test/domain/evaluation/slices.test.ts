/**
 * Tests that a slice is blocked when a loss beyond the limit is certain, and only then, however few its rows are; that the rows of one
 * entity are one draw; and the order of slices in reports.
 */
import { expect, it } from 'vitest'
import { score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import type { SliceMetric } from '../../../domain/evaluation/gate-metrics.ts'
import { unjudgedSlices } from '../../../domain/evaluation/reasons.ts'
import { judgeSlices, worstSlicesFirst, type GateSliceRow } from '../../../domain/evaluation/slices.ts'
import {
  bootstrap,
  delong,
  delongByEntity,
  normalQuantile,
  seededRandom,
  standardNormal,
} from '@tenure/sequential'

const uniform = seededRandom(7)
const normal = () => standardNormal(uniform)
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

const zOf = (...given: Parameters<typeof delongByEntity>): number => {
  const { difference, error } = delongByEntity(...given)!
  return Math.abs(difference) / error
}

/** 120 entities with eight rows each; the errors of both models are shared by the rows of an entity. */
const entities = Array.from({ length: 960 }, (_, i) => `user ${i % 120}`)
const errors = Array.from({ length: 120 }, () => [normal(), normal()] as const)
const odds = entities.map(() => 1.5 * normal())
const y = odds.map((odd) => (uniform() < sigmoid(odd) ? 1 : 0))
const champion = odds.map((odd, i) => sigmoid(odd + errors[i % 120]![0]))
const challenger = odds.map((odd, i) => sigmoid(odd + 1.5 * errors[i % 120]![1]))
const z = (p: number | null) => -normalQuantile(p! / 2)!

it('the AUCs of two models differ as certainly as the bootstrap of entities says', () => {
  const scored = (answers: number[]) =>
    score(
      'binary',
      y,
      answers.map((p) => [p]),
      { threshold: 0.5 },
    )
  const [a, b] = [challenger, champion].map((answers) => statisticOf('auc', scored(answers)))
  const [first = [], second = []] = bootstrap([a!, b!], y.length, { resamples: 2_000, seed: 1, entities })
  const differences = Array.from(first, (value, i) => value - second[i]!)
  const mean = differences.reduce((sum, value) => sum + value, 0) / differences.length
  const error = Math.sqrt(
    differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (differences.length - 1),
  )
  const { auc1, auc2 } = delong(y, challenger, champion)
  const expected = Math.abs(auc1! - auc2!) / error
  const found = zOf(y, challenger, champion, entities)
  expect(found / expected).toBeGreaterThan(0.93)
  expect(found / expected).toBeLessThan(1.07)
  // Row by row the same difference would look far more certain.
  expect(z(delong(y, challenger, champion).pTwoSided) / expected).toBeGreaterThan(1.15)
})

it('the AUCs of entities with one row each differ as DeLong says, with or without their names', () => {
  const rows = entities.map((_, i) => i)
  expect(zOf(y, challenger, champion, rows)).toBeCloseTo(z(delong(y, challenger, champion).pTwoSided), 6)
  expect(delongByEntity(y, challenger, champion)).toEqual(delongByEntity(y, challenger, champion, rows))
  expect(delongByEntity(y, champion, champion, rows)).toMatchObject({ difference: 0, error: 0 })
  expect(delongByEntity([1, 1], [1, 2], [2, 1], [0, 1])).toBeNull()
  expect(delongByEntity([0, 1], [1, 2], [2, 1], [0, 0])).toBeNull()
})

it('a slice judged by AUC is not blocked by the copies of a few rows', () => {
  const at = Array.from({ length: 900 }, (_, i) => i % 60)
  const copies = (answers: number[]) =>
    score(
      'binary',
      at.map((i) => y[i]!),
      at.map((i) => [answers[i]!]),
      { threshold: 0.5 },
    )
  const spoiled = odds.map((odd) => sigmoid(odd + 2 * normal()))
  const policy = defaultGatePolicy('binary')
  const limits = { ...policy, slices: { ...policy.slices, metric: 'auc' } } as const
  const slices = [{ name: 'all', rows: at.map((_, i) => i) }]
  const verdict = (own?: number[]) =>
    judgeSlices(slices, copies(spoiled), copies(champion), limits, own)[0]!.verdict
  expect(verdict()).toBe('blocked')
  expect(verdict(at)).toBe('ok')
  // A single entity says nothing of others.
  expect(verdict(at.map(() => 1))).toBe('insufficient')
})

it.each(['auc', 'accuracy'] as const)(
  'a slice of three entities is not blocked by %s when both models are equally good',
  (metric) => {
    const policy = defaultGatePolicy('binary')
    const limits = { ...policy, slices: { ...policy.slices, metric } }
    const own = Array.from({ length: 300 }, (_, i) => i % 3)
    const slices = [{ name: 'all', rows: own.map((_, i) => i) }]
    const runs = 300
    const blocked = Array.from({ length: runs }, () => {
      const odd = own.map(() => 1.2 * normal())
      const truths = odd.map((each) => (uniform() < sigmoid(each) ? 1 : 0))
      const scored = () => {
        const error = [0.7 * normal(), 0.7 * normal(), 0.7 * normal()]
        const answers = odd.map((each, i) => [sigmoid(each + error[own[i]!]! + 0.3 * normal())])
        return score('binary', truths, answers, { threshold: 0.5 })
      }
      return judgeSlices(slices, scored(), scored(), limits, own)[0]!.verdict
    }).filter((verdict) => verdict === 'blocked')
    // Three standard errors of the simulation above α.
    expect(blocked.length / runs).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs))
  },
)

/** Truths and the answers of both versions; all rows are one slice. */
type World = (row: number) => { truth: number; champion: number; challenger: number }

const binary = (metric: SliceMetric) => ({ task: 'binary', metric }) as const
const judged = (
  rows: number,
  world: World,
  { task, metric, groups }: { task: 'binary' | 'regression'; metric: SliceMetric; groups?: number },
) => {
  const policy = defaultGatePolicy(task)
  const limits = { ...policy, slices: { ...policy.slices, metric } }
  const drawn = Array.from({ length: rows }, (_, row) => world(row))
  const truths = drawn.map(({ truth }) => truth)
  const scored = (who: 'champion' | 'challenger') =>
    score(
      task,
      truths,
      drawn.map((each) => [each[who]]),
      limits,
    )
  const own = groups === undefined ? undefined : drawn.map((_, row) => row % groups)
  const slices = [{ name: 'all', rows: drawn.map((_, row) => row) }]
  return judgeSlices(slices, scored('challenger'), scored('champion'), limits, own)[0]!
}

/** Who alone is right, by chance; their difference is the loss of accuracy. */
const rightOrWrong =
  (lost: number, won: number): World =>
  () => {
    const draw = uniform()
    const right = (isRight: boolean) => (isRight ? 0.9 : 0.1)
    const isBoth = uniform() < 0.8
    return {
      truth: 1,
      champion: right(draw < lost || (draw >= lost + won && isBoth)),
      challenger: right((draw >= lost && draw < lost + won) || (draw >= lost + won && isBoth)),
    }
  }

/** Two normal scores that share a part; positives are higher by what gives these AUCs. */
const ranked =
  (champion: number, challenger: number, shared = 0.9): World =>
  (row) => {
    const truth = row % 3 === 0 ? 1 : 0
    const z = normal()
    const above = (auc: number) => truth * Math.SQRT2 * normalQuantile(auc)!
    const other = shared * z + Math.sqrt(1 - shared ** 2) * normal()
    return { truth, champion: sigmoid(z + above(champion)), challenger: sigmoid(other + above(challenger)) }
  }

/** The error of the challenger is 2 % larger, the limit, of a champion with such errors. */
const larger =
  (error: () => number): World =>
  () => ({ truth: 0, champion: error(), challenger: 1.02 * error() })

it.each([
  ['accuracy, which it only loses', binary('accuracy'), rightOrWrong(0.02, 0)],
  ['accuracy, which it wins and loses', binary('accuracy'), rightOrWrong(0.12, 0.1)],
  ['AUC, with independent scores', binary('auc'), ranked(0.8, 0.78, 0)],
  ['AUC, with nearly equal scores', binary('auc'), ranked(0.95, 0.93, 0.99)],
  ['absolute error, normal', { task: 'regression', metric: 'mae' }, larger(normal)],
  ['squared error, log-normal', { task: 'regression', metric: 'rmse' }, larger(() => Math.exp(normal()))],
] as const)(
  'a slice whose true loss is the limit is blocked at most as often as α says, from six rows on, by %s',
  (_, by, world) => {
    const runs = 250
    for (const rows of [6, 30, 90, 240, 600]) {
      const blocked = Array.from({ length: runs }, () => judged(rows, world, by).verdict).filter(
        (verdict) => verdict === 'blocked',
      )
      expect(blocked.length / runs, `${rows} rows`).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / runs))
    }
  },
)

it.each([
  ['AUC 0.8 to 0.2', 45, binary('auc'), ranked(0.8, 0.2, 0)],
  ['AUC 0.8 to 0.2 in 30 entities', 90, { ...binary('auc'), groups: 30 }, ranked(0.8, 0.2, 0)],
  ['accuracy 0.9 to 0.3', 30, binary('accuracy'), rightOrWrong(0.65, 0.05)],
  ['ten times the error', 30, { task: 'regression', metric: 'mae' } as const, larger(normal)],
])('certain harm in a slice of few rows is blocked: %s', (name, rows, by, world) => {
  const worse: World =
    by.task === 'regression'
      ? (row) => {
          const each = world(row)
          return { ...each, challenger: 10 * each.challenger }
        }
      : world
  const verdicts = Array.from({ length: 40 }, () => judged(rows, worse, by))
  expect(verdicts.filter(({ verdict }) => verdict === 'blocked').length, name).toBeGreaterThanOrEqual(36)
})

it('few rows that prove no loss are no verdict, and say which loss they could have proven', () => {
  const few = judged(60, rightOrWrong(0.05, 0.05), binary('accuracy'))
  const many = judged(6_000, rightOrWrong(0.05, 0.05), binary('accuracy'))
  expect([few.verdict, many.verdict]).toEqual(['insufficient', 'ok'])
  expect(few.provable).toBeGreaterThan(0.1)
  expect(few.provable).toBeLessThan(0.4)
  expect(many.provable).toBeGreaterThan(0.02)
  expect(many.provable).toBeLessThan(0.03)
  const none = judged(5, rightOrWrong(0.05, 0.05), binary('accuracy'))
  expect(none).toMatchObject({ verdict: 'insufficient', provable: null })
  const reasons = unjudgedSlices([few, { ...none, name: 'five' }, many], defaultGatePolicy('binary'))
  expect(reasons).toEqual([
    {
      code: 'slices_unjudged',
      message: expect.stringMatching(
        /^too few rows to judge by AUC: .*"all" \(60 rows, .* only a loss of 0\.\d+ or more could be proven\)/,
      ),
      values: { slices: 2 },
    },
  ])
  expect(reasons[0]!.message).toContain('no loss could be proven')
})

it('slices are ordered by verdict and loss, those without enough rows last, and without a champion by value', () => {
  const slice = (name: string, verdict: GateSliceRow['verdict'], delta: number | null, challenger = 0.8) => ({
    name,
    rows: 420,
    positives: 40,
    champion: null,
    challenger,
    delta,
    p: null,
    adjustedP: null,
    verdict,
  })
  const names = (slices: GateSliceRow[], metric?: 'accuracy' | 'rmse') =>
    worstSlicesFirst(slices, metric).map(({ name }) => name)
  expect(
    names([
      slice('few', 'insufficient', -0.2),
      slice('better', 'ok', 0.01),
      slice('worse', 'ok', -0.03),
      slice('lost', 'blocked', -0.02),
      slice('none', 'missing', null),
    ]),
  ).toEqual(['lost', 'none', 'worse', 'better', 'few'])
  const first = [slice('low', 'ok', null, 0.7), slice('high', 'ok', null, 0.9)]
  expect(names(first, 'accuracy')).toEqual(['low', 'high'])
  expect(names(first, 'rmse')).toEqual(['high', 'low'])
  expect(names(first.toReversed())).toEqual(['high', 'low'])
})
