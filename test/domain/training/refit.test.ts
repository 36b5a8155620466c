/** Tests the check of refitted weights, and which artifact of a run may become a version. */
import { seededRandom } from '@tenure/sequential'
import { describe, expect, it } from 'vitest'
import { issueOfMaking, type Making } from '../../../domain/registry/registration.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { checkRefit, defaultRefitDistance } from '../../../domain/training/refit.ts'

const rows = 400
const each = <Value>(of: (row: number) => Value) => Array.from({ length: rows }, (_, row) => of(row))
const outputs: [Output, y: number[], judged: number[][]][] = [
  [
    { kind: 'probability', positive: 'yes' } as Output,
    each((row) => row % 2),
    each((row) => [row % 4 < 2 ? 0.4 : 0.6]),
  ],
  [
    { kind: 'classes', classes: ['a', 'b', 'c'] } as Output,
    each((row) => row % 3),
    each(() => [1 / 3, 1 / 3, 1 / 3]),
  ],
  [{ kind: 'number' } as Output, each((row) => row % 10), each((row) => [row % 10])],
  [
    { kind: 'quantiles', levels: [0.1, 0.5, 0.9] } as Output,
    each((row) => row % 10),
    each(() => [1, 4.5, 8]),
  ],
  [
    { kind: 'numbers', names: ['low', 'high'] } as Output,
    each((row) => [row % 10, row % 5]).flat(),
    each((row) => [row % 10, row % 5]),
  ],
]

it.each(outputs)('equal answers of %o pass', (output, y, judged) => {
  const check = checkRefit({ judged, refitted: judged, y }, output, { distance: 0.1 })
  expect(check).toMatchObject({ rows, change: 0, limit: 0.1 })
  expect(check.issue).toBeUndefined()
})

it.each(outputs)('answers of %o that are far from the judged ones are refused', (output, y, judged) => {
  // Each answer becomes that of the next row or class, or moves by half of the range of its labels.
  const isOfShares = output.kind === 'probability' || output.kind === 'classes'
  const refitted = judged.map((answer, row) =>
    output.kind === 'classes'
      ? row % 2 === 0
        ? [1, 0, 0]
        : [0, 1, 0]
      : answer.map((value) => (isOfShares ? 1 - value : value + 5)),
  )
  const { issue, change } = checkRefit({ judged, refitted, y }, output, { distance: 0.1 })
  expect(change).toBeGreaterThan(0.1)
  expect(issue).toMatch(/^the refitted weights answer 400 test rows differently .* at most 0\.1 is allowed/)
})

it('answers that are near but biased are refused, unless the judged ones were as biased', () => {
  const [output, y] = outputs[2]!
  const by = (value: number) => each(() => [value])
  const check = (judged: number, refitted: number) =>
    checkRefit({ judged: by(judged), refitted: by(refitted), y }, output, { distance: 0.5 }).issue
  // The mean label is 4.5 with a standard error of 0.14.
  expect(check(4.5, 5)).toBeUndefined()
  expect(check(4.5, 5.1)).toMatch(/answer 5\.1 on average, the judged ones 4\.5, and the labels/)
  expect(check(4, 5.1)).toBeUndefined()
  expect(check(4.5, NaN)).toBeDefined()
})

it('shares that predict the test rows worse are refused from a change on that chance does not make', () => {
  const [output, y, judged] = outputs[0]!
  const check = (more: number) =>
    checkRefit({ judged, refitted: judged.map(([p]) => [p! + more]), y }, output, { distance: 1 }).issue
  expect(check(0.01)).toBeUndefined()
  expect(check(0.05)).toMatch(
    /^the refitted weights answer 400 test rows worse than the judged ones, although they have learnt from them: their log loss is 0\.7\d*, that of the judged ones 0\.71/,
  )
})

it('a change of shares is measured by the difference of two judged answers, and of constant ones by the error of the mean label', () => {
  const [output, half] = outputs[0]!
  const changeOf = (judged: number[][], refitted: number[][], y = half) =>
    checkRefit({ judged, refitted, y }, output, { distance: 1 }).change
  const rare = each((row) => [row % 4 < 2 ? 0.001 : 0.003])
  // Two of 400 rows differ by 0.002 in 200 of 399 cases.
  const more = rare.map(([p]) => [p! + 0.001])
  const none = each(() => 0)
  expect(changeOf(rare, more, none)).toBeCloseTo(0.001 / ((0.002 * 200) / 399), 9)
  expect(
    changeOf(
      each(() => [0.4]),
      each(() => [0.425]),
    ),
  ).toBeCloseTo(1, 9)
  expect(
    changeOf(
      each(() => [0.4]),
      each(() => [0.4]),
    ),
  ).toBe(0)
})

it('a class without test rows, whose share is near 0, refuses no refit that has learnt of it', () => {
  const [output] = outputs[1]!
  const y = each((row) => row % 2)
  const withRare = (rare: (row: number) => number) =>
    each((row) => {
      const a = (1 - rare(row)) * (row % 2 === 0 ? 0.8 : 0.2)
      return [a, 1 - rare(row) - a, rare(row)]
    })
  const judged = withRare((row) => 1e-6 * (1 + (row % 3)))
  const refitted = withRare((row) => 1e-3 * (1 + (row % 3)))
  const { change, issue } = checkRefit({ judged, refitted, y }, output, { distance: 1 })
  expect(issue).toBeUndefined()
  expect(change).toBeLessThan(0.01)
  // The answers to two rows differ by 0.6 of both classes in 200 of 399 cases.
  const turned = judged.map(([a, b, rare]) => [b!, a!, rare!])
  expect(checkRefit({ judged, refitted: turned, y }, output, { distance: 1 }).change).toBeCloseTo(
    399 / 200,
    3,
  )
})

describe.each([0.002, 0.02, 0.2, 0.5])('where %d of the rows are positive', (rate) => {
  const output = { kind: 'probability', positive: 'yes' } as Output
  const testRows = Math.max(2_000, 100 / rate)
  interface Row {
    x: number[]
    y: number
  }
  type Learner = (rows: readonly Row[]) => (row: Row) => number
  const normal = (random: () => number) =>
    Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const rowsOf = (count: number, random: () => number): Row[] => {
    const weights = [1, 0.8, 0.5]
    const drawn = Array.from({ length: count }, () => weights.map(() => normal(random)))
    const scores = drawn.map((x) => x.reduce((sum, value, k) => sum + value * weights[k]!, 0))
    let [low, high] = [-20, 20]
    const chance = (score: number, at: number) => 1 / (1 + Math.exp(-score - at))
    for (let step = 0; step < 20; step++) {
      const middle = (low + high) / 2
      const mean = scores.reduce((sum, score) => sum + chance(score, middle), 0) / count
      if (mean > rate) high = middle
      else low = middle
    }
    return drawn.map((x, row) => ({ x, y: random() < chance(scores[row]!, low) ? 1 : 0 }))
  }
  /** A stable learner: logistic regression by gradient steps. */
  const regression: Learner = (rows) => {
    const mean = rows.reduce((sum, { y }) => sum + y, 0) / rows.length
    const weights = [0, 0, 0, Math.log(mean / (1 - mean))]
    const answer = ({ x }: Row) =>
      1 / (1 + Math.exp(-x.reduce((sum, value, k) => sum + value * weights[k]!, weights[3]!)))
    for (let step = 0; step < 12; step++) {
      const slope = [0, 0, 0, 0]
      let curvature = 0
      for (const row of rows) {
        const p = answer(row)
        row.x.forEach((value, k) => (slope[k]! += (p - row.y) * value))
        slope[3]! += p - row.y
        curvature += p * (1 - p)
      }
      slope.forEach((value, k) => (weights[k]! -= (0.5 * value) / curvature))
    }
    return answer
  }
  /** A learner whose answers depend much on its rows: the smoothed share of positives in each of 64 cells. */
  const cells: Learner = (rows) => {
    const mean = rows.reduce((sum, { y }) => sum + y, 0) / rows.length
    const cellOf = ({ x }: Row) =>
      x.slice(0, 2).reduce((cell, value) => cell * 8 + Math.min(7, Math.max(0, Math.floor(value * 2 + 4))), 0)
    const counts = Array.from({ length: 64 }, () => ({ rows: 1, positives: mean }))
    for (const row of rows) {
      const count = counts[cellOf(row)]!
      count.rows++
      count.positives += row.y
    }
    return (row) => counts[cellOf(row)]!.positives / counts[cellOf(row)]!.rows
  }

  it.each<[string, Learner]>([
    ['regression', regression],
    ['cells', cells],
  ])('a refit of %s on more rows passes, and each wrong one is refused', (_name, learner) => {
    // The rarest positives need the most rows.
    for (let seed = 1; seed <= (rate < 0.01 ? 1 : 3); seed++) {
      const random = seededRandom(seed)
      const all = rowsOf(testRows * 3, random)
      const test = all.slice(-testRows)
      const judged = learner(all.slice(0, -testRows))
      const check = (refitted: (row: Row) => number) =>
        checkRefit(
          {
            judged: test.map((row) => [judged(row)]),
            refitted: test.map((row) => [refitted(row)]),
            y: test.map(({ y }) => y),
          },
          output,
          { distance: defaultRefitDistance(output) },
        )
      const byRows = (change: (row: Row, place: number) => Partial<Row>) =>
        check(learner(all.map((row, place) => ({ ...row, ...change(row, place) }))))
      const next = (place: number) => all[(place + 1) % all.length]!
      expect(byRows(() => ({}))).not.toHaveProperty('issue')
      const wrong = {
        'labels of other rows': byRows((_, place) => ({ y: next(place).y })),
        'a column of other rows': byRows(({ x }, place) => ({ x: [next(place).x[0]!, ...x.slice(1)] })),
        'a column in another unit': byRows(({ x }) => ({ x: [x[0]! + 3, ...x.slice(1)] })),
        'ten times the answers': check((row) => Math.min(1, 10 * judged(row))),
        'a tenth of the answers': check((row) => judged(row) / 10),
      }
      for (const [name, found] of Object.entries(wrong)) expect(found, name).toHaveProperty('issue')
    }
  })
})

const making: Making = {
  model: 'roses',
  snapshotDigest: 's',
  artifactDigest: 'refitted',
  validation: { model: 'roses', snapshotDigest: 's', verdict: 'pass' },
  training: { model: 'roses', snapshotDigest: 's', status: 'done', artifactDigest: 'judged' },
  evaluation: {
    model: 'roses',
    isOfTraining: true,
    snapshotDigest: 's',
    artifactDigest: 'judged',
    verdict: 'better',
  },
  refit: { model: 'roses', status: 'done', artifactDigest: 'refitted', isChecked: true },
}
const { refit } = making as { refit: NonNullable<Making['refit']> }

it.each<[string, Partial<Making>, string | undefined]>([
  ['refitted and checked', {}, undefined],
  ['judged beside a refit', { artifactDigest: 'judged' }, undefined],
  ['neither judged nor refitted', { artifactDigest: 'other' }, 'its training made another artifact'],
  ['without a refit', { refit: undefined }, 'its training made another artifact'],
  [
    'unchecked',
    { refit: { ...refit, isChecked: false } },
    'its refitted weights have not passed their check',
  ],
  [
    'of a running refit',
    { refit: { ...refit, status: 'running' } },
    'its refitted weights have not passed their check',
  ],
  [
    'of another model',
    { refit: { ...refit, model: 'tulips' } },
    'its refitted weights have not passed their check',
  ],
  [
    'of a recipe that was not judged',
    { evaluation: { ...making.evaluation!, artifactDigest: 'refitted' } },
    'its evaluation judged another artifact',
  ],
])('an artifact %s may become a version: %s', (_what, more, issue) => {
  expect(issueOfMaking({ ...making, ...more })).toBe(issue)
})
