import { expect, it } from 'vitest'
import { category, csv, defineModel, direct, random, yesNo } from '../../models/define.ts'
import { valueOrIssues } from '../support/model-issues.ts'

function issuesOf(file: object): unknown {
  const base = {
    name: 'roses',
    features: { colour: category({}) },
    label: yesNo({ positive: 'blooms' }),
    source: csv('models/data/roses.csv', { eventTime: 'seen' }),
    split: random({ test: 0.25 }),
    evaluation: { floors: { auc: 0.6 } },
    release: direct(),
  }
  return valueOrIssues(() => defineModel({ ...base, ...file }).definition.floods)
}

it('a model file sets the handling of flooded rows, which requires row times', () => {
  expect(issuesOf({})).toBeUndefined()
  expect(issuesOf({ floods: 'thin' })).toBe('thin')
  expect(issuesOf({ floods: 'drop' })).toEqual([
    'floods: one of thin, leave_out, warn is required, not "drop"',
  ])
  expect(issuesOf({ floods: 'warn', source: csv('models/data/roses.csv') })).toEqual([
    'floods: needs the eventTime of the source',
  ])
})
