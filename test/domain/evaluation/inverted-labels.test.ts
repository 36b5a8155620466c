import { expect, it } from 'vitest'
import { judgeGate, reversedReasons } from '../../../domain/evaluation/gate.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'
import { seededRandom } from '@tenure/sequential'

const chance = seededRandom(7)
const y = Array.from({ length: 2_000 }, () => (chance() < 0.3 ? 1 : 0))
/** Scores that separate the classes, or the inverted classes. */
const scores = (towards: number) =>
  y.map((label) => [0.5 + towards * (label - 0.5) * 0.3 + (chance() - 0.5) * 0.6])

it('a champion that ranks worse than chance indicates inverted labels', () => {
  const [reason] = reversedReasons({ y, champion: scores(-1) }, { task: 'binary' })
  expect(reason).toMatchObject({
    code: 'labels_reversed',
    message: expect.stringContaining('labels may be inverted') as unknown,
  })
})

it('a slice whose labels are inverted is named, while all rows together rank well', () => {
  const north = y.flatMap((_, row) => (row % 8 === 0 ? [row] : []))
  const south = y.flatMap((_, row) => (row % 8 === 4 ? [row] : []))
  const told = y.map((label, row) => (row % 8 === 0 ? 1 - label : label))
  const slices = [
    { name: 'south', rows: south },
    { name: 'north', rows: north },
  ]
  const champion = scores(1)
  const reasons = reversedReasons({ y: told, champion, slices }, { task: 'binary' })
  expect(reasons.map(({ code }) => code)).toEqual(['labels_reversed'])
  expect(reasons[0]!.message).toMatch(
    /^the labels of the slice "north" may be inverted: AUC of the champion 0\.\d+/,
  )
  expect(reversedReasons({ y, champion, slices }, { task: 'binary' })).toEqual([])
})

it('a challenger trained on inverted labels is not better', () => {
  const policy = defaultGatePolicy('binary')
  const judged = (champion: number[][]) => judgeGate({ y, challenger: scores(1), champion }, policy)
  const flipped = judged(scores(-1))
  expect(flipped).toMatchObject({ verdict: 'not_better' })
  expect(flipped.reasons[0]?.code).toBe('labels_reversed')
  expect(judged(scores(0.2)).reasons.map(({ code }) => code)).not.toContain('labels_reversed')
})

it.each([
  ['a champion that is merely poor', { y, champion: scores(0.02) }, 'binary' as const],
  ['no champion', { y, champion: null }, 'binary' as const],
  ['quantities', { y, champion: scores(-1) }, 'regression' as const],
  ['a handful of rows', { y: [0, 1, 0, 1], champion: [[0.6], [0.4], [0.4], [0.6]] }, 'binary' as const],
  ['one class', { y: [1, 1], champion: [[0.1], [0.2]] }, 'binary' as const],
])('not %s', (_what, input, task) => expect(reversedReasons(input, { task })).toEqual([]))
