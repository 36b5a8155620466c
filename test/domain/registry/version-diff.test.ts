/** Tests the comparison of two versions. */
import { describe, expect, it } from 'vitest'
import { compareVersions, type ComparedVersion } from '../../../domain/registry/version-diff.ts'

const one: ComparedVersion = {
  version: 'iris_v1.0.0',
  model: 'iris',
  status: 'known_good',
  createdAt: '2026-03-01T00:00:00.000Z',
  createdBy: 'anna',
  lineage: {
    snapshot: 'sha256:aa',
    hyperparameters: { units: 16, activation: 'relu' },
    metrics: { auc: 0.8, brier: 0.2, f1: null },
    seed: 7,
  },
  manifest: {
    features: { width: { kind: 'number', min: 0, max: 9 } },
    files: {
      'model.json': { digest: 'a', bytes: 1_000 },
      'weights.bin': { digest: 'b', bytes: 400 },
    },
  },
  training: { epochs: 10, loss: 0.5, dependencies: { node: '20.20.0', old: '1.0.0' } },
}
const other: ComparedVersion = {
  ...one,
  version: 'iris_v1.1.0',
  lineage: {
    ...one.lineage,
    hyperparameters: { units: 32, activation: 'relu', dropout: true },
    metrics: { auc: 0.75, brier: 0.1, f1: null },
  },
  manifest: { ...one.manifest, features: { width: { max: 9, min: 0, kind: 'number' } } },
  training: { epochs: 12, loss: 0.5, dependencies: { node: '20.20.0' } },
}

describe('two versions', () => {
  const { differences, same, notes } = compareVersions(one, other)

  it('have their differences listed, the metrics first', () => {
    expect(differences).toEqual([
      {
        section: 'metrics',
        field: 'auc',
        one: 0.8,
        other: 0.75,
        difference: expect.closeTo(-0.05),
        better: 'one',
      },
      {
        section: 'metrics',
        field: 'brier',
        one: 0.2,
        other: 0.1,
        difference: expect.closeTo(-0.1),
        better: 'other',
      },
      { section: 'hyperparameters', field: 'units', one: 16, other: 32, difference: 16 },
      { section: 'hyperparameters', field: 'dropout', one: null, other: true },
      { section: 'code', field: 'dependency old', one: '1.0.0', other: null },
      { section: 'training', field: 'epochs', one: 10, other: 12, difference: 2 },
    ])
  })

  it.each([
    ['other test rows', { lineage: { ...other.lineage, snapshot: 'sha256:bb' } }],
    ['another model', { model: 'rose' }],
  ])('have no better metric on %s', (_, change) => {
    const compared = compareVersions(one, { ...other, ...change })
    expect(compared.differences[0]).toMatchObject({ field: 'auc', difference: expect.closeTo(-0.05) })
    expect(compared.differences.filter(({ better }) => better !== undefined)).toEqual([])
  })

  it('are equal elsewhere, for any order of their keys', () => {
    expect(same).toContainEqual({
      section: 'features',
      field: 'width',
      one: '{"kind":"number","max":9,"min":0}',
      other: '{"kind":"number","max":9,"min":0}',
    })
    expect(same).toContainEqual({ section: 'size', field: 'parameters', one: 100, other: 100, difference: 0 })
    expect(same).toContainEqual({ section: 'metrics', field: 'f1', one: null, other: null })
  })

  it('on the same rows need no note', () => expect(notes).toEqual([]))
})

it('a diff has notes for differences that are not comparable', () => {
  const elsewhere = { ...other, model: 'rose', lineage: { ...other.lineage, snapshot: 'sha256:bb' } }
  expect(compareVersions(one, elsewhere).notes).toEqual([
    'they are versions of different models: iris and rose',
    expect.stringContaining('different test sets'),
  ])
  expect(compareVersions(one, one)).toMatchObject({
    differences: [],
    notes: ['this is one version, compared with itself'],
  })
})

it('versions with few known facts are compared', () => {
  const bare = { ...one, lineage: {}, manifest: {}, training: { epochs: 0, dependencies: {} } }
  expect(compareVersions(bare, one).differences).toContainEqual({
    section: 'metrics',
    field: 'auc',
    one: null,
    other: 0.8,
  })
})

it('metrics are listed in the order of headings, not in that of the stored record', () => {
  const metrics = { f1: 0.5, auc: 0.7, cost: 2, brier: 0.1, accuracy: 0.8 }
  const changed = { ...one, lineage: { ...one.lineage, metrics } }
  const { differences } = compareVersions(changed, { ...other, lineage: { ...one.lineage, metrics: {} } })
  expect(differences.filter(({ section }) => section === 'metrics').map(({ field }) => field)).toEqual([
    'auc',
    'f1',
    'accuracy',
    'brier',
    'cost',
  ])
})
