/** Tests the query language of version searches. */
import { describe, expect, it } from 'vitest'
import {
  parseConditions,
  parseDigest,
  parseMoment,
  parseOrder,
} from '../../../domain/registry/version-query.ts'

describe('conditions on metrics', () => {
  it.each([
    ['auc>0.8', [{ metric: 'auc', is: '>', value: 0.8 }]],
    ['AUC >= .8', [{ metric: 'auc', is: '>=', value: 0.8 }]],
    [
      'logloss<1e-1,rmse=-2',
      [
        { metric: 'logLoss', is: '<', value: 0.1 },
        { metric: 'rmse', is: '=', value: -2 },
      ],
    ],
  ])('%s', (text, value) => expect(parseConditions(text)).toEqual({ value }))

  it.each([
    ['auc', /not a condition such as auc>0.8/],
    ['auc>', /not a condition/],
    ['auc>high', /not a condition/],
    ['auc>1e999', /not a condition/],
    ['auc>NaN', /not a condition/],
    ['auc=>0.8', /not a condition/],
    ['auc>0.8,', /"" is not a condition/],
    ['auc>0.8; drop table versions', /not a condition/],
    ['area>0.8', /no metric "area"; there are auc, accuracy/],
    ['constructor>1', /no metric "constructor"/],
    ['auc>0,auc>0,auc>0,auc>0,auc>0,auc>0', /more than 5/],
    [`${'x'.repeat(400)}>1`, /no metric "x{60}…"/],
  ])('refuse %s', (text, issue) =>
    expect(parseConditions(text)).toEqual({ issue: expect.stringMatching(issue) }),
  )
})

describe('orders', () => {
  it.each([
    ['newest', 'newest'],
    ['version', 'version'],
    ['auc', { metric: 'auc', direction: 'descending' }],
    ['-auc', { metric: 'auc', direction: 'ascending' }],
    ['brier', { metric: 'brier', direction: 'ascending' }],
    ['-brier', { metric: 'brier', direction: 'descending' }],
  ])('%s', (text, value) => expect(parseOrder(text)).toEqual({ value }))

  it('refuse invalid text', () =>
    expect(parseOrder('best')).toEqual({
      issue: expect.stringMatching(/not one of version, newest.*"best"/),
    }))
})

describe('moments and digests', () => {
  it.each([
    ['2026-03-01', '2026-03-01T00:00:00.000Z'],
    ['2026-03-01T12:00+02:00', '2026-03-01T10:00:00.000Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
  ])('%s', (text, value) => expect(parseMoment(text)).toEqual({ value }))

  it.each([
    '0001-01-01T00:00:00+05:00',
    '9999-12-31T23:59:59-15:00',
    'yesterday',
    '2026-02-31',
    '2026-13-01',
    '2026-03-01T12:00:00',
    '0000-01-01',
    '2026-03-01T25:00Z',
    '',
  ])('no moment: %s', (text) =>
    expect(parseMoment(text)).toEqual({ issue: expect.stringMatching(/^Invalid time .*; use 2026-03-01/) }),
  )

  it.each([
    ['ABCDEF', 'sha256:abcdef'],
    [`sha256:${'0'.repeat(64)}`, `sha256:${'0'.repeat(64)}`],
  ])('%s', (text, value) => expect(parseDigest(text)).toEqual({ value }))

  it.each(['abcde', 'sha256:', 'abcdeg', '%', '0'.repeat(65)])('no digest: %s', (text) =>
    expect(parseDigest(text)).toEqual({ issue: expect.stringMatching(/not a digest/) }),
  )
})
