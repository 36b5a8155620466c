/** Tests which columns a source must have. */
import { expect, it } from 'vitest'
import { neededColumns } from '../../../domain/validation/needed-columns.ts'
import { csv, defineModel, direct, number, random, yesNo } from '../../../models/define.ts'

const { definition } = defineModel({
  name: 'needs',
  features: { size: number() },
  label: yesNo({ column: 'late', positive: 'late' }),
  source: csv('models/data/needs.csv', { key: ['id'] }),
  split: random({ test: 0.25 }),
  subject: 'person',
  evaluation: { floors: { auc: 0.5 }, groups: ['gender', 'size'], entity: 'customer', baseline: 'yesterday' },
  release: direct(),
})

it('the columns of the evaluation and of the subject are needed, each with its use', () =>
  expect(neededColumns(definition)).toEqual({
    events: { late: 'the label', person: 'which subject names' },
    rows: {
      late: 'the label',
      size: 'a feature',
      id: 'which key names',
      gender: 'which evaluation.groups names',
      customer: 'which evaluation.entity names',
      yesterday: 'which evaluation.baseline names',
    },
  }))

it('those that name a looked-up feature are not needed of the source', () => {
  const from = { view: 'weather', value: 'sky', by: ['airport'], maxAgeMs: 1 }
  const features = {
    ...definition.features,
    gender: { kind: 'category', from },
  } as unknown as typeof definition.features
  expect(Object.keys(neededColumns({ ...definition, features }).rows)).not.toContain('gender')
})
