/** Tests the fallbacks that a model file may declare. */
import { describe, expect, it } from 'vitest'
import * as words from '../../models/define.ts'
import { valueOrIssues } from '../support/model-issues.ts'

const base = {
  name: 'roses',
  features: { size: words.number() },
  source: words.csv('models/data/roses.csv'),
  split: words.random({ test: 0.25 }),
  train: () => Promise.reject(new Error('is not called here')),
  evaluation: { floors: {} },
  release: words.direct(),
}
const labels = {
  class: words.oneOf(['red', 'white']),
  probability: words.yesNo({ positive: 'blooms' }),
  number: words.quantity({ min: 0, max: 10 }),
}
const floors = { class: { accuracy: 0.5 }, probability: { auc: 0.6 }, number: { rmse: 5 } }
const define = (label: keyof typeof labels, fallback: unknown) => {
  const file = { ...base, label: labels[label], evaluation: { floors: floors[label] }, fallback }
  return valueOrIssues(() => words.defineModel(file as never).definition.fallback)
}

describe('a fallback', () => {
  it.each([
    ['a class by its name', 'class', words.always('white'), { kind: 'answer', outputs: [0, 1] }],
    ['a probability', 'probability', words.always(0.25), { kind: 'answer', outputs: [0.25] }],
    ['a number', 'number', words.always(7), { kind: 'answer', outputs: [7] }],
    ['the previous champion', 'class', words.previousChampion(), { kind: 'previous' }],
    [
      'the previous champion, or else a rule, by itself',
      'class',
      words.previousChampion({ otherwise: 'red', automatic: true }),
      { kind: 'previous', otherwise: [1, 0], automatic: true },
    ],
    [
      'a rule by itself',
      'number',
      words.always(7, { automatic: true }),
      { kind: 'answer', outputs: [7], automatic: true },
    ],
    ['nothing, when none is declared', 'class', undefined, undefined],
  ] as const)('is %s', (_name, label, spec, fallback) => {
    expect(define(label, spec)).toEqual(fallback)
  })

  it.each([
    [
      'a class that does not exist',
      'class',
      words.always('blue'),
      /one of red, white is required, not "blue"/,
    ],
    ['a number for a class', 'class', words.always(1), /one of red, white is required/],
    [
      'more than a probability can be',
      'probability',
      words.always(1.5),
      /a probability from 0 to 1 is required/,
    ],
    ['a text for a number', 'number', words.always('7'), /a finite number is required/],
    ['a number outside of the limits', 'number', words.always(11), /within the label's limits/],
    ['no number', 'number', words.always(NaN), /a finite number is required/],
    [
      'an invalid rule',
      'class',
      words.previousChampion({ otherwise: 'blue' }),
      /one of red, white is required/,
    ],
    [
      'by itself, perhaps',
      'number',
      { kind: 'previous', automatic: 'maybe' },
      /fallback.automatic: true or false is required, not "maybe"/,
    ],
    ['something else', 'number', { kind: 'sometimes' }, /always\(…\) or previousChampion\(\) is required/],
  ] as const)('is not %s', (_name, label, spec, issue) => {
    expect(String(define(label, spec))).toMatch(issue)
  })
})
