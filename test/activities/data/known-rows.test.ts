/** Tests the types that columns of Postgres get. */
import { expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { loadFromPostgres } from '../../../activities/data/known-rows.ts'
import type { ReadBatches } from '../../../store/database/cursor.ts'

const columns = [
  { name: 'account', type: 1700 },
  { name: 'price', type: 1700 },
  { name: 'code', type: 1700 },
  { name: 'day', type: 1082 },
]
const rows = [
  ['12345678901234567890', '1.50', '0.30', '2026-01-04'],
  ['12345678901234567891', '2.25', '7', '2026-01-05'],
]
const read: ReadBatches = async (_query, onBatch) => {
  await onBatch({ columns, rows } as never)
}

it('columns that name something keep each value, and others are numbers and times', async () => {
  const types = await withDuck(async (duck) => {
    await loadFromPostgres(duck, 'select', read, { names: ['account', 'code', 'day'] })
    const texts = await duck.rows(
      'select account::varchar as account, code::varchar as code, day::varchar as day from known order by account',
    )
    expect(texts).toEqual([
      { account: '12345678901234567890', code: '0.30', day: '2026-01-04' },
      { account: '12345678901234567891', code: '7', day: '2026-01-05' },
    ])
    return duck.rows<{ column_type: string }>('describe known')
  })
  expect(types.map(({ column_type }) => column_type)).toEqual(['DECIMAL(38,0)', 'DOUBLE', 'VARCHAR', 'DATE'])
})

it('without names, a numeric is a double and a date a timestamp', async () => {
  const types = await withDuck(async (duck) => {
    await loadFromPostgres(duck, 'select', read)
    return duck.rows<{ column_type: string }>('describe known')
  })
  expect(types.map(({ column_type }) => column_type)).toEqual(['DOUBLE', 'DOUBLE', 'DOUBLE', 'TIMESTAMP'])
})
