import { describe, expect, it } from 'vitest'
import type { Features } from '../../../domain/model/features.ts'
import { compressionMethods } from '../../../domain/model/compression.ts'
import {
  aboveGiven,
  commandOfAnother,
  formatVersion,
  nextVersion,
  type Numbered,
} from '../../../domain/registry/version.ts'

const features: Features = {
  size: { kind: 'number', min: 0, max: 10 },
  colour: { kind: 'category', values: ['red', 'blue'] },
  age: { kind: 'number', missing: 'fill' },
  note: { kind: 'category' },
  story: { kind: 'text' },
  place: { kind: 'vector', length: 2 },
  photo: { kind: 'image' },
}
const from = {
  view: 'ages',
  digest: 'sha256:4',
  value: 'age',
  by: ['note'],
  timeToLiveMs: 1,
  freshMs: 1,
  withinMs: 1,
}
const compressedFacts = { version: 'm_v1.0.0', artifact: 'sha256:5', epsilon: 0.01, counts: {} }
const before: Numbered = {
  features,
  order: Object.keys(features),
  output: { kind: 'probability', positive: 'blooms', threshold: 0.5 },
  snapshot: 'sha256:1',
  code: 'sha256:2',
  hyperparameters: { epochs: 4, loss: 'log' },
}
const after = (change: Partial<Numbered>) => {
  const { major, minor, patch } = nextVersion(
    { number: { major: 2, minor: 3, patch: 4 }, of: before },
    { ...before, ...change },
  )
  return `${major}.${minor}.${patch}`
}
const without = (name: string): Features =>
  Object.fromEntries(Object.entries(features).filter(([each]) => each !== name))

describe('the number of a version', () => {
  it('starts at 1.0.0', () =>
    expect(formatVersion('roses', nextVersion(undefined, before))).toBe('roses_v1.0.0'))

  it.each<[string, Partial<Numbered>]>([
    ['a feature more', { features: { ...features, weight: { kind: 'number' } } }],
    [
      'a feature less, for rows without names',
      { features: without('note'), order: ['size', 'colour', 'age', 'story', 'place', 'photo'] },
    ],
    ['another name', { features: { ...without('note'), remark: { kind: 'category' } } }],
    ['another kind', { features: { ...features, size: { kind: 'category' } } }],
    ['a value less', { features: { ...features, colour: { kind: 'category', values: ['red'] } } }],
    [
      'values where any text was right',
      { features: { ...features, note: { kind: 'category', values: ['a'] } } },
    ],
    [
      'a text that may be less long',
      { features: { ...features, story: { kind: 'text', maxLength: 9_999 } } },
    ],
    ['a vector of another length', { features: { ...features, place: { kind: 'vector', length: 3 } } }],
    ['smaller images', { features: { ...features, photo: { kind: 'image', maxBytes: 999_999 } } }],
    ['no more missing values', { features: { ...features, age: { kind: 'number' } } }],
    [
      'a looked-up value with a default where null was right',
      { features: { ...features, age: { kind: 'number', from: { ...from, otherwise: 30 } } } },
    ],
    [
      'another order of rows without names',
      { order: ['colour', 'size', 'age', 'note', 'story', 'place', 'photo'] },
    ],
    ['another positive class', { output: { kind: 'probability', positive: 'wilts', threshold: 0.5 } }],
    ['another kind of answer', { output: { kind: 'number' } }],
    ['classes', { output: { kind: 'classes', classes: ['a', 'b'] } }],
  ])('rises by a major for %s', (_name, change) => expect(after(change)).toBe('3.0.0'))

  it.each<[string, Partial<Numbered>]>([
    ['new data', { snapshot: 'sha256:3' }],
    [
      'new data, and larger images',
      { snapshot: 'sha256:3', features: { ...features, photo: { kind: 'image', maxBytes: 1_000_001 } } },
    ],
    [
      'new data, and a text that may be longer',
      { snapshot: 'sha256:3', features: { ...features, story: { kind: 'text', maxLength: 10_001 } } },
    ],
    ['new code', { code: 'sha256:3' }],
    ['another hyperparameter', { hyperparameters: { epochs: 5, loss: 'log' } }],
    ['a hyperparameter less', { hyperparameters: { epochs: 4 } }],
    [
      'new data, and a value more',
      { snapshot: 'sha256:3', features: { ...features, colour: { kind: 'category' } } },
    ],
    ['new data, and a feature less', { snapshot: 'sha256:3', features: without('note') }],
    [
      'new data, and a feature more that may be missing',
      { snapshot: 'sha256:3', features: { ...features, weight: { kind: 'number', missing: 'fill' } } },
    ],
    [
      'new data, and a looked-up value where it was missing',
      {
        snapshot: 'sha256:3',
        features: { ...features, age: { kind: 'number', missing: 'fill', from } },
      },
    ],
    [
      'new data, and another range',
      { snapshot: 'sha256:3', features: { ...features, size: { kind: 'number', max: 5 } } },
    ],
    [
      'new data, and another threshold',
      { snapshot: 'sha256:3', output: { kind: 'probability', positive: 'blooms', threshold: 0.7 } },
    ],
  ])('rises by a minor for %s', (_name, change) => expect(after(change)).toBe('2.4.0'))

  it('rises by a patch for equal content', () => expect(after({})).toBe('2.3.5'))

  it.each<[Numbered['output'], Numbered['output'], string]>([
    [{ kind: 'classes', classes: ['a', 'b'] }, { kind: 'classes', classes: ['b', 'a'] }, '3.0.0'],
    [{ kind: 'classes', classes: ['a', 'b'] }, { kind: 'classes', classes: ['a', 'b'] }, '2.3.5'],
    [{ kind: 'number', unit: 'min' }, { kind: 'number', unit: 'h' }, '3.0.0'],
    [{ kind: 'number', max: 4 }, { kind: 'number', max: 5 }, '2.3.5'],
  ])('compares answers: %j and %j give %s', (old, now, number) => {
    const next = nextVersion(
      { number: { major: 2, minor: 3, patch: 4 }, of: { ...before, output: old } },
      { ...before, output: now },
    )
    expect(Object.values(next).join('.')).toBe(number)
  })
})

it.each([
  ['1.0.21', undefined, '1.0.21'],
  ['1.0.21', '1.0.20', '1.0.21'],
  ['1.0.21', '1.0.21', '1.1.0'],
  ['1.1.0', '1.4.2', '1.5.0'],
  ['1.9.0', '2.0.3', '2.1.0'],
  ['2.0.0', '1.9.9', '2.0.0'],
])('after %s, with %s given before a restore, comes %s', (next, given, expected) => {
  const parse = (text: string) => {
    const [major = 0, minor = 0, patch = 0] = text.split('.').map(Number)
    return { major, minor, patch }
  }
  expect(aboveGiven(parse(next), given === undefined ? undefined : parse(given))).toEqual(parse(expected))
})

it.each<[Parameters<typeof commandOfAnother>[1], string]>([
  [{}, 'tenure retrain m'],
  [{ origin: 'brought' }, 'tenure versions register m --artifact FILE'],
  ...compressionMethods.flatMap((to) =>
    [undefined, 'brought' as const].map((origin): [Parameters<typeof commandOfAnother>[1], string] => [
      { origin, compression: { ...compressedFacts, to } },
      `tenure compress m@champion --to ${to} --epsilon 0.01`,
    ]),
  ),
])('another version is made in the way of the one before: %j', (lineage, command) => {
  expect(commandOfAnother('m', lineage)).toBe(command)
})
