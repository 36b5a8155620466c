/** Tests that the rows of one entity are one draw when slices are compared by AUC, and the order of slices in reports. */
import { expect, it } from 'vitest'
import { score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
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
  const found = z(delongByEntity(y, challenger, champion, entities))
  expect(found / expected).toBeGreaterThan(0.93)
  expect(found / expected).toBeLessThan(1.07)
  // Row by row the same difference would look far more certain.
  expect(z(delong(y, challenger, champion).pTwoSided) / expected).toBeGreaterThan(1.15)
})

it('the AUCs of entities with one row each differ as DeLong says, and without variance they are equal', () => {
  const rows = entities.map((_, i) => i)
  const found = z(delongByEntity(y, challenger, champion, rows))
  expect(found).toBeCloseTo(z(delong(y, challenger, champion).pTwoSided), 1)
  expect(delongByEntity(y, champion, champion, rows)).toBe(1)
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
    // Half of α plus three standard errors of the simulation: a slice that is better is not blocked.
    expect(blocked.length / runs).toBeLessThan(0.025 + 3 * Math.sqrt((0.025 * 0.975) / runs))
  },
)

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
