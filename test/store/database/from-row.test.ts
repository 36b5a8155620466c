/** Tests how rows become domain objects; needs no server. */
import { expect, it } from 'vitest'
import sql from 'sql-template-tag'
import { fromRowWithout, rowsFrom } from '../../../store/database/from-row.ts'
import type { Database } from '../../../store/postgres.ts'

const answering = (...rows: object[]): Database => ({
  query: <T extends object>() => Promise.resolve(rows as T[]),
})
const statement = sql`select`

it('names columns in camelCase, leaves out null and writes times in ISO 8601', async () => {
  const row = { released_at: new Date(0), rolled_back_at: null, evidence: { kept_as: null } }
  expect(await rowsFrom(answering(row)).list(statement)).toStrictEqual([
    { releasedAt: '1970-01-01T00:00:00.000Z', evidence: { kept_as: null } },
  ])
})

it('nests columns with a dot, and leaves the object out when all of them are null', async () => {
  const row = { report: { level: 'held' }, 'report.to_at': new Date(0), 'champion.since': null }
  expect(await rowsFrom(answering(row)).find(statement)).toStrictEqual({
    report: { level: 'held', toAt: '1970-01-01T00:00:00.000Z' },
  })
})

it('leaves out the columns that are named', () =>
  expect(fromRowWithout({ id: 1, ranked_by: 2 }, 'ranked_by')).toStrictEqual({ id: 1 }))

it('returns single columns and whether there is a row', async () => {
  const some = rowsFrom(answering({ id: 'a' }, { id: null }))
  const none = rowsFrom(answering())
  expect(await some.column(statement)).toEqual(['a', null])
  expect([await some.value(statement), await none.value(statement)]).toEqual(['a', undefined])
  expect([await some.any(statement), await none.any(statement)]).toEqual([true, false])
  expect(await none.find(statement)).toBeUndefined()
})
