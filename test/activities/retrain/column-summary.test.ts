import { expect, it } from 'vitest'
import { summarize } from '../../../activities/retrain/judge-snapshot.ts'
import type { BatchTable } from '../../../domain/validation/expectations.ts'

const table: BatchTable = {
  rows: 5,
  columns: {
    size: [1, 2, 3, 4, null],
    colour: ['red', 'blue', 'red', null, 'red'],
    sold: [true, false, true, true, null],
    empty: [null, null, null, null, null],
  },
}

it('a column summary describes each column in the requested order', () => {
  expect(summarize(table, ['colour', 'size', 'wings'])).toEqual([
    {
      column: 'colour',
      rows: 5,
      missing: 1,
      distinct: 2,
      min: null,
      max: null,
      mean: null,
      deviation: null,
      frequent: [
        ['red', 3],
        ['blue', 1],
      ],
    },
    {
      column: 'size',
      rows: 5,
      missing: 1,
      distinct: 4,
      min: 1,
      max: 4,
      mean: 2.5,
      deviation: expect.closeTo(Math.sqrt(5 / 3), 12) as unknown,
    },
  ])
})

it('a column summary handles booleans and empty columns', () => {
  expect(summarize(table, ['sold', 'empty'])).toMatchObject([
    { column: 'sold', missing: 1, distinct: 2 },
    { column: 'empty', missing: 5, distinct: 0, min: null, max: null, mean: null, deviation: null },
  ])
})
