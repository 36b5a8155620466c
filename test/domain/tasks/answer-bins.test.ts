/** Tests the bins in which the answers of two versions are compared. */
import { describe, expect, it } from 'vitest'
import { answerBins, answerCounter, sharedBins } from '../../../domain/tasks/tasks.ts'
import type { AnswerBins } from '../../../domain/tasks/answer-bins.ts'
import { numberProfile } from '../../../domain/model/reference-profile.ts'
import type { Output } from '../../../domain/tasks/output.ts'

const evenProfile = (name: string, scale: number) =>
  numberProfile(
    name,
    Array.from({ length: 101 }, (_, i) => i * scale),
  )
const binned = (champion: Output, own: Output, outputs: number[], rows: number) => {
  const bins = answerBins(champion, { score: evenProfile('score', 1) })!
  return countedIn(bins, own, outputs, rows).flat()
}
/** Returns the names of the bins in which each row is counted. */
const countedIn = (bins: AnswerBins, own: Output, outputs: number[], rows: number) =>
  Array.from({ length: rows }, (_, row) => {
    const counts = bins.names.map(() => 0)
    answerCounter(bins, own)!(counts, Float32Array.from(outputs), row)
    return bins.names.filter((_name, bin) => counts[bin]! > 0)
  })

it('a probability falls on a side of the threshold of its own version', () => {
  const output = (threshold: number): Output => ({ kind: 'probability', positive: 'late', threshold })
  expect(binned(output(0.5), output(0.3), [0.2, 0.3], 2)).toEqual(['not late', 'late'])
})

it('a class is found by its name, in whatever order the candidate has them', () => {
  const champion: Output = { kind: 'classes', classes: ['a', 'b', 'c'] }
  const candidate: Output = { kind: 'classes', classes: ['c', 'a', 'b'] }
  expect(binned(champion, candidate, [0.8, 0.1, 0.1, 0.1, 0.7, 0.2], 2)).toEqual(['c', 'a'])
})

it('classes after the sixty-fourth share a bin', () => {
  const classes = Array.from({ length: 100 }, (_, i) => `c${i}`)
  const outputs = classes.map((_, i) => Number(i === 90))
  expect(binned({ kind: 'classes', classes }, { kind: 'classes', classes }, outputs, 1)).toEqual(['other'])
})

it('a number falls between the 10th, 50th and 90th percentile of the champion', () => {
  const number: Output = { kind: 'number' }
  expect(binned(number, number, [5, 10, 60, 600], 4)).toEqual(['below 10', 'from 10', 'from 50', 'from 90'])
})

it.each([
  ['always equal', [7, 7], ['below 7', 'from 7', 'above 7']],
  ['mostly equal', [7, 7, 7, 7, 7, 7, 7, 7, 7, 9], ['below 7', 'from 7', 'above 7']],
  ['one of two', [0, 1], ['below 0', 'from 0', 'from 1', 'above 1']],
])('larger numbers than those of a champion that are %s have a bin of their own', (_what, given, names) => {
  const values = Array.from({ length: 100 }, (_, i) => given[i % given.length]!)
  const number: Output = { kind: 'number' }
  expect(answerBins(number, { score: numberProfile('score', values) })!.names).toEqual(names)
})

it('a number without a profile, and a version of another kind, are not compared', () => {
  expect(answerBins({ kind: 'number' })).toBeUndefined()
  const bins = answerBins({ kind: 'probability', positive: 'late', threshold: 0.5 })!
  expect(answerCounter(bins, { kind: 'number' })).toBeUndefined()
})

describe('each of several numbers', () => {
  const champion: Output = { kind: 'numbers', names: ['near', 'far'] }
  const bins = answerBins(champion, { scores: [evenProfile('near', 1), evenProfile('far', 10)] })!

  it('falls between its own percentiles, by its name', () => {
    expect(bins.perAnswer).toBe(2)
    expect(countedIn(bins, champion, [5, 2_000, 60, 99], 2)).toEqual([
      ['near below 10', 'far from 900'],
      ['near from 50', 'far below 100'],
    ])
    const candidate: Output = { kind: 'numbers', names: ['far', 'more', 'near'] }
    expect(countedIn(bins, candidate, [2_000, 0, 5], 1)).toEqual([['near below 10', 'far from 900']])
    expect(answerCounter(bins, { kind: 'numbers', names: ['more', 'other'] })).toBeUndefined()
  })

  it('is omitted where the candidate does not predict it', () => {
    const candidate: Output = { kind: 'numbers', names: ['other', 'far'] }
    expect(countedIn(bins, candidate, [5, 2_000], 1)).toEqual([['far from 900']])
    expect(sharedBins(bins, candidate)).toEqual({ places: [4, 5, 6, 7], perAnswer: 1 })
    expect(sharedBins(bins, champion)).toMatchObject({ places: { length: 8 }, perAnswer: 2 })
    const yes: Output = { kind: 'probability', positive: 'late', threshold: 0.5 }
    expect(sharedBins(answerBins(yes)!, yes)).toEqual({ places: [0, 1], perAnswer: 1 })
  })

  it('is compared for the first sixteen', () => {
    const names = Array.from({ length: 20 }, (_, k) => `n${k}`)
    const many = answerBins(
      { kind: 'numbers', names },
      { scores: names.map((name) => evenProfile(name, 1)) },
    )!
    expect([many.perAnswer, many.names.length]).toEqual([16, 64])
  })
})
