/**
 * Tests the gate of a champion that was refitted on rows that the challenger is tested on: by simulation, equal recipes are `better` in at
 * most one of 40 cycles.
 */
import { seededRandom } from '@tenure/sequential'
import { expect, it } from 'vitest'
import { judgeGate } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy, type GatePolicy } from '../../../domain/evaluation/policy.ts'
import {
  judgedRows,
  type ComparisonBasis,
  type RefittedChampion,
} from '../../../domain/evaluation/refitted-champion.ts'

const policy: GatePolicy = {
  ...defaultGatePolicy('binary'),
  primary: 'brier',
  evidence: { rows: 60, positives: 10, negatives: 10, sliceRows: 200, slicePositives: 30 },
  calibration: 'off',
  resamples: 200,
}

const refitted: RefittedChampion = {
  version: 'roses_v1.0.0',
  newestEvent: '2026-01-01T00:00:00Z',
  judged: 'sha256:judged',
  isSameRecipe: true,
  anchors: [],
}

interface Row {
  day: number
  x: number[]
  y: number
}

/** Rows of `days`, four a day; `y` depends on the first two of six features. */
function rowsOf(days: number, random: () => number): Row[] {
  return Array.from({ length: days * 4 }, (_, index) => {
    const x = Array.from({ length: 6 }, () => random() * 2 - 1)
    return { day: index / 4, x, y: random() < 1 / (1 + Math.exp(-2 * x[0]! - x[1]!)) ? 1 : 0 }
  })
}

/** The recipe: a logistic regression by gradient steps. */
function train(rows: readonly Row[]): (row: Row) => number {
  const weights = Array.from({ length: 7 }, () => 0)
  const answer = ({ x }: Row) =>
    1 / (1 + Math.exp(-x.reduce((sum, value, k) => sum + value * weights[k]!, weights[6]!)))
  for (let step = 0; step < 15; step++) {
    const slope = weights.map(() => 0)
    for (const row of rows) {
      const error = answer(row) - row.y
      row.x.forEach((value, k) => (slope[k]! += error * value))
      slope[6]! += error
    }
    slope.forEach((value, k) => (weights[k]! -= (8 * value) / rows.length))
  }
  return answer
}

const [trainDays, testDays, maturedDays] = [40, 30, 10]

/** Judges the challenger of a cycle, some days after the refit of the champion. `leaks`: the challenger was trained on its test rows. */
function judgeCycle(seed: number, leaks = false): { isBetter: boolean; basis: ComparisonBasis } {
  const random = seededRandom(seed)
  const first = trainDays + testDays + maturedDays
  const now = first + Math.ceil(random() * 40)
  const rows = rowsOf(now, random)
  const between = (from: number, to: number) => rows.filter(({ day }) => day > from && day <= to)
  const refitEnd = first - maturedDays
  const testStart = now - maturedDays - testDays
  const test = between(testStart, now - maturedDays)
  const unseen = test.filter(({ day }) => day > refitEnd)
  const champion = { ...refitted, isSameRecipe: random() < 0.5 }
  const { basis, comparison } = judgedRows(
    champion,
    unseen.map(({ y }) => y),
    policy,
  )
  const challenger = train(between(testStart - trainDays, leaks ? now : testStart))
  const control =
    basis === 'same_recipe' ? challenger : train(between(0, basis === 'unseen_rows' ? refitEnd : trainDays))
  const compared = basis === 'unseen_rows' ? unseen : test
  const answers = (answer: (row: Row) => number) => compared.map((row) => [answer(row)])
  const input = { y: compared.map(({ y }) => y), challenger: answers(challenger), champion: answers(control) }
  return { isBetter: judgeGate({ ...input, comparison }, policy).verdict === 'better', basis }
}

const judgeCycles = (cycles: number, leaks?: boolean) =>
  Array.from({ length: cycles }, (_, cycle) => judgeCycle(cycle + 1, leaks))
const shareOfBetter = (judged: readonly { isBetter: boolean }[]) =>
  judged.filter(({ isBetter }) => isBetter).length / judged.length

it('a challenger of the same recipe is better in at most 2.5 % of 2,000 cycles, whatever is compared', () => {
  const judged = judgeCycles(2_000)
  for (const basis of ['unseen_rows', 'same_recipe', 'judged_weights'] as const) {
    const ofBasis = judged.filter((each) => each.basis === basis)
    expect(ofBasis.length).toBeGreaterThan(200)
    expect(shareOfBetter(ofBasis)).toBeLessThanOrEqual(0.025)
  }
})

it('the simulation finds a challenger that was trained on its test rows', () => {
  expect(shareOfBetter(judgeCycles(200, true))).toBeGreaterThan(0.1)
})

it.each([
  [
    60,
    true,
    'unseen_rows',
    'the 60 test rows after 2026-01-01T00:00:00Z, up to which roses_v1.0.0 was refitted',
  ],
  [59, true, 'same_recipe', '59 rows in the test set, at least 60 required'],
  [59, false, 'judged_weights', 'a gain is not counted as better'],
])(
  '%i rows after the refit, by the same recipe: %s, are compared by %s',
  (rows, isSameRecipe, basis, text) => {
    const y = Array.from({ length: rows }, (_, row) => row % 2)
    const found = judgedRows({ ...refitted, isSameRecipe }, y, policy)
    expect(found).toMatchObject({ basis, comparison: { code: basis, values: { rows } } })
    expect(found.comparison.message).toContain(text)
  },
)

it.each([
  ['both', 60, 'unseen_rows', 'not_worse'],
  ['both', 59, 'same_weights', 'not_worse'],
  ['challenger', 60, 'unseen_rows', 'not_worse'],
  ['challenger', 59, 'learnt_rows', 'insufficient'],
] as const)(
  'a compressed challenger whose rows of the refit are learnt by %s, with %i rows after it, is judged by %s: %s',
  (learnt, rows, basis, verdict) => {
    const y = Array.from({ length: rows }, (_, row) => row % 2)
    const { basis: chosen, comparison } = judgedRows({ ...refitted, learnt, isSameRecipe: false }, y, policy)
    expect(chosen).toBe(basis)
    const answers = y.map((label) => [0.3 + 0.4 * label])
    const judged = {
      y: [...y, 1, 0],
      challenger: [...answers, [0.7], [0.3]],
      champion: [...answers, [0.7], [0.3]],
    }
    const report = judgeGate({ ...judged, comparison }, policy)
    expect(report.verdict).toBe(verdict)
    const stated = verdict === 'insufficient' ? report.reasons : report.warnings
    expect(stated).toContainEqual(comparison)
  },
)
