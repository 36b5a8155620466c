/** What a CSV says of its columns, and what it leaves open. */
import { describe, expect, it } from 'vitest'
import { inferColumns, inferLabel, inferTime, labelIssue } from '../../../domain/project/infer-columns.ts'

const columnOf = (name: string, values: readonly string[]) =>
  inferColumns(
    [name],
    values.map((value) => [value]),
  )[0]!

describe('a column', () => {
  it.each([
    ['numbers', 'size', ['1', '-2.5', '1e3', ''], { use: 'number', whole: false, missing: 1 }],
    ['whole numbers', 'rooms', ['1', '2', '2'], { use: 'number', whole: true }],
    ['yes and no', 'paid', ['no', 'yes', 'no', 'no'], { use: 'flag', yes: 'yes', positives: 0.25 }],
    ['zeros and ones', 'paid', ['0', '1', '1', '1'], { use: 'flag', yes: '1', positives: 0.75 }],
    ['two other texts', 'kind', ['b', 'a', 'a'], { use: 'category', values: ['a', 'b'] }],
    ['days', 'day', ['2026-01-02', '2026-01-01'], { use: 'time', from: '2026-01-01', to: '2026-01-02' }],
    ['moments', 'at', ['2026-01-01 10:00:00', '2026-01-02T10:00Z'], { use: 'time' }],
    ['one value', 'unit', ['m', 'm'], { use: 'none', why: 'it has the value m only' }],
    ['no value', 'unit', ['', ''], { use: 'none', why: 'it is empty' }],
    ['keys', 'order_id', ['1', '2', '3'], { use: 'none', why: 'it names the row' }],
    [
      'a running number',
      'order',
      Array.from({ length: 30 }, (_, row) => String(100 + row)),
      { use: 'none', why: 'it counts the rows' },
    ],
    ['keys without a name', '', ['0', '1', '2'], { use: 'none', why: 'it names the row' }],
    [
      'many texts',
      'note',
      Array.from({ length: 60 }, (_, row) => `note ${row}`),
      { use: 'none', why: 'it has 60 different texts' },
    ],
    ['a date that does not exist', 'day', ['2026-13-01', '2026-01-01'], { use: 'category' }],
    ['numbers and a text', 'size', ['1', 'n/a', '2'], { use: 'category' }],
  ] as const)('of %s is inferred', (_, name, values, expected) =>
    expect(columnOf(name, values)).toMatchObject(expected),
  )

  it('gets a name that a model file can use, and no other column has', () => {
    const names = inferColumns(
      ['Unit Price', '2nd', 'größe', 'a-b', 'a b', '%'],
      [['1', '2', '3', '4', '5', '6']],
    )
    expect(names.map(({ name }) => name)).toEqual(['Unit_Price', 'nd', 'gro_e', 'a_b', 'a_b2', 'column6'])
  })
})

describe('the label', () => {
  const rows = [
    ['1', 'a', '2026-01-01', '3'],
    ['2', 'b', '2026-01-02', '5'],
  ]
  it('is the column with the name of a label', () =>
    expect(inferLabel(inferColumns(['x', 'Target', 'at', 'y2'], rows))?.column).toBe('Target'))
  it('is else the last column that can be one', () =>
    expect(inferLabel(inferColumns(['x', 'kind', 'at', 'size'], rows))?.column).toBe('size'))
  it('is never a time', () => {
    const columns = inferColumns(['x', 'kind', 'at', 'size'], rows)
    expect(inferTime(columns)?.column).toBe('at')
    expect(columns.map(labelIssue)).toEqual([undefined, undefined, 'it holds times', undefined])
  })
})
