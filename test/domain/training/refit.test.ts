/** Tests the check of refitted weights, and which artifact of a run may become a version. */
import { expect, it } from 'vitest'
import { issueOfMaking, type Making } from '../../../domain/registry/registration.ts'
import type { Output } from '../../../domain/tasks/output.ts'
import { checkRefit } from '../../../domain/training/refit.ts'

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
  const [output, y] = outputs[0]!
  const by = (value: number) => each(() => [value])
  const check = (judged: number, refitted: number) =>
    checkRefit({ judged: by(judged), refitted: by(refitted), y }, output, { distance: 0.5 }).issue
  // The share of positives is 0.5 with a standard error of 0.025.
  expect(check(0.5, 0.59)).toBeUndefined()
  expect(check(0.5, 0.61)).toMatch(/answer 0\.61 on average, the judged ones 0\.5, and the labels/)
  expect(check(0.4, 0.61)).toBeUndefined()
  expect(check(0.5, NaN)).toBeDefined()
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
