/** Tests the weights of training rows, and when early stopping ends a training. */
import { describe, expect, it } from 'vitest'
import { isStopped, watchEpoch, type StopWatch } from '../../../domain/training/early-stopping.ts'
import { rowWeights } from '../../../domain/training/row-weights.ts'

const late = { kind: 'probability', positive: 'late', threshold: 0.5 } as const
const labels = [1, 0, 0, 0]

describe('the weights of rows', () => {
  it('are the column times the class, with a mean of 1', () => {
    const cells = [2, 1, 0, 1]
    const weights = rowWeights({ column: 'value', classes: { late: 3 } }, late, { labels, cells })
    expect([...weights]).toEqual([3, 0.5, 0, 0.5])
  })

  it('that are balanced give each class the same sum', () => {
    const weights = rowWeights({ classes: 'balanced' }, late, { labels, cells: undefined })
    expect([...weights].map((weight) => Math.round(weight * 1e6) / 1e6)).toEqual([
      2, 0.666667, 0.666667, 0.666667,
    ])
  })

  it('of the negative class are named by `not`, and those of classes by their names', () => {
    expect([...rowWeights({ classes: { 'not late': 0 } }, late, { labels, cells: undefined })]).toEqual([
      4, 0, 0, 0,
    ])
    const output = { kind: 'classes', classes: ['a', 'b'] } as const
    const weights = rowWeights({ classes: { b: 3 } }, output, { labels: ['a', 'b'], cells: undefined })
    expect([...weights]).toEqual([0.5, 1.5])
  })

  it.each([
    [[1, -1, 1, 1], 'value of row 1 is -1: a weight is a number of at least 0'],
    [[1, null, 1, 1], 'value of row 1 is null'],
    [[1, 'much', 1, 1], 'value of row 1 is "much"'],
    [[0, 0, 0, 0], 'all training rows have the weight 0'],
  ])('%j are refused', (cells, message) => {
    expect(() => rowWeights({ column: 'value' }, late, { labels, cells })).toThrow(message)
  })

  it('need the column in the snapshot', () => {
    expect(() => rowWeights({ column: 'value' }, late, { labels, cells: undefined })).toThrow(
      'no column value',
    )
  })
})

describe('early stopping', () => {
  const runUntil = (losses: number[], rule: { after: number; minDelta?: number }) => {
    let watch: StopWatch | undefined
    for (const [index, loss] of losses.entries()) {
      if (isStopped(watch, rule)) break
      watch = watchEpoch(watch, { epoch: index + 1, loss }, rule)
    }
    return [watch?.epoch, watch?.bestEpoch]
  }

  it.each([
    ['falls', [5, 4, 3, 2, 1], { after: 2 }, [5, 5]],
    ['rises', [5, 4, 6, 6, 1], { after: 2 }, [4, 2]],
    ['recovers in time', [5, 4, 6, 3, 6, 6], { after: 2 }, [6, 4]],
    ['falls by too little', [5, 4.95, 4.9, 1], { after: 2, minDelta: 0.2 }, [3, 1]],
    ['is not a number', [5, NaN, NaN, 1], { after: 2 }, [3, 1]],
    ['is not a number at first', [NaN, 5, 6, 6, 1], { after: 2 }, [4, 2]],
  ])('of a loss that %s', (_what, losses, rule, ended) => expect(runUntil(losses, rule)).toEqual(ended))
})
