/** Tests which of the recent releases becomes the anchor of an evaluation. */
import { expect, it } from 'vitest'
import { bestOf } from '../../../domain/evaluation/anchor.ts'
import { defaultGatePolicy } from '../../../domain/evaluation/policy.ts'

const y = [0, 0, 1, 1]
const binary = defaultGatePolicy('binary')
const answers = (...scores: number[]) => scores.map((score) => [score])
const good = { version: 'good', answers: answers(0.1, 0.2, 0.8, 0.9) }
const fair = { version: 'fair', answers: answers(0.1, 0.7, 0.6, 0.9) }

it('the anchor is the version with the best metric on these rows, in any order', () => {
  expect(bestOf([fair, good], y, binary)).toMatchObject({ version: 'good', value: 1 })
  expect(bestOf([good, fair], y, binary)).toMatchObject({ version: 'good', value: 1 })
})

it('the anchor is chosen by what each version decides by its own threshold', () => {
  const policy = { ...binary, primary: 'accuracy', threshold: 0.15 } as const
  expect(bestOf([{ ...good, threshold: 0.5 }, fair], y, policy)).toMatchObject({ version: 'good', value: 1 })
  expect(bestOf([good], y, policy)).toMatchObject({ value: 0.75 })
})

it('the anchor has the lowest metric where less is better', () => {
  const policy = defaultGatePolicy('regression')
  const near = { version: 'near', answers: answers(0, 0, 1, 1.1) }
  const far = { version: 'far', answers: answers(0, 3, 1, 1) }
  expect(bestOf([far, near], y, policy)?.version).toBe('near')
})

it('the anchor is undefined without a readable candidate or a defined metric', () => {
  expect(bestOf([], y, binary)).toBeUndefined()
  expect(bestOf([{ version: 'odd', answers: answers(0.1, NaN, 0.2, 0.3) }], y, binary)).toBeUndefined()
  expect(bestOf([good], [1, 1, 1, 1], binary)).toBeUndefined()
})
