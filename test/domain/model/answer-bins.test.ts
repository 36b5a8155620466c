/** Tests the bins in which the answers of two versions are compared. */
import { expect, it } from 'vitest'
import { answerBinner, answerBins } from '../../../domain/model/answer-bins.ts'
import type { Output } from '../../../domain/model/features.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'

const binned = (champion: Output, own: Output, outputs: number[], rows: number) => {
  const bins = answerBins(
    champion,
    numberProfile(
      'score',
      Array.from({ length: 101 }, (_, i) => i),
    ),
  )!
  const binOf = answerBinner(bins, own)!
  return Array.from({ length: rows }, (_, row) => bins.names[binOf(Float32Array.from(outputs), row)])
}

it('a probability falls on a side of the threshold of its own version', () => {
  const output = (threshold: number): Output => ({ kind: 'probability', positive: 'late', threshold })
  expect(binned(output(0.5), output(0.3), [0.2, 0.3], 2)).toEqual(['not late', 'late'])
})

it('a class is found by its name, in whatever order the candidate has them', () => {
  const champion: Output = { kind: 'classes', classes: ['a', 'b', 'c'] }
  const candidate: Output = { kind: 'classes', classes: ['c', 'a', 'b'] }
  expect(binned(champion, candidate, [0.8, 0.1, 0.1, 0.1, 0.7, 0.2], 2)).toEqual(['c', 'a'])
})

it('classes beyond the sixty-fourth share a bin', () => {
  const classes = Array.from({ length: 100 }, (_, i) => `c${i}`)
  const outputs = classes.map((_, i) => Number(i === 90))
  expect(binned({ kind: 'classes', classes }, { kind: 'classes', classes }, outputs, 1)).toEqual(['other'])
})

it('a number falls between the 10th, 50th and 90th percentile of the champion', () => {
  const number: Output = { kind: 'number' }
  expect(binned(number, number, [5, 10, 60, 600], 4)).toEqual(['below 10', 'from 10', 'from 50', 'from 90'])
})

it('a number without a profile, and a version of another kind, are not compared', () => {
  expect(answerBins({ kind: 'number' })).toBeUndefined()
  const bins = answerBins({ kind: 'probability', positive: 'late', threshold: 0.5 })!
  expect(answerBinner(bins, { kind: 'number' })).toBeUndefined()
})
