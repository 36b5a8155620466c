/** Tests statements that a connection parses once, also when a migration changes their result. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { prepared, preparedName } from '../../../store/database/prepared.ts'
import type { Store } from '../../../store/postgres.ts'
import { freshDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
let table: string
let count = 0

beforeAll(async () => {
  store = openPatientStore(await freshDatabase(), { max: 1 })
})
afterAll(() => store.close())
beforeEach(async () => {
  table = `rows_${++count}`
  await store.pool.query(`create table ${table} (key text primary key, value integer)`)
  await store.pool.query(`insert into ${table} values ('a', 1), ('b', 2)`)
})

/** Each test has its own table, so each has its own statement text. */
const find = (key: string) => prepared([`select * from ${table} where key = `, ``], key)
const plans = async () =>
  (await store.pool.query('select name, generic_plans + custom_plans as runs from pg_prepared_statements'))
    .rows

it('a prepared statement is parsed once by its connection, and sees the values of each call', async () => {
  const name = preparedName(find('a'))
  expect(name).toMatch(/^[0-9a-f]{16}$/)
  expect(preparedName(sql`select 1`)).toBeUndefined()
  for (let i = 0; i < 8; i++) {
    expect(await store.query(find('a'))).toEqual([{ key: 'a', value: 1 }])
    expect(await store.query(find('b'))).toEqual([{ key: 'b', value: 2 }])
  }
  expect(await plans()).toContainEqual({ name, runs: 16 })
})

it('a prepared statement whose columns a migration changes is planned anew, without an error', async () => {
  expect(await store.query(find('a'))).toHaveLength(1)
  await store.pool.query(
    `alter table ${table} add column more text default 'new', alter column value type text`,
  )
  expect(await store.query(find('a'))).toEqual([{ key: 'a', value: '1', more: 'new' }])
  expect(await store.query(find('b'))).toEqual([{ key: 'b', value: '2', more: 'new' }])
})

it('in a transaction it fails once with the error of Postgres, and the next transaction works', async () => {
  const read = () => store.transaction((database) => database.query(find('a')))
  expect(await read()).toHaveLength(1)
  await store.pool.query(`alter table ${table} add column more text default 'new'`)
  await expect(read()).rejects.toMatchObject({ code: '0A000' })
  expect(await read()).toEqual([{ key: 'a', value: 1, more: 'new' }])
})

it('a prepared statement that fails because of its values can be used again with others', async () => {
  const half = (by: number) =>
    prepared([`select value / `, `::integer as half from ${table} order by key`], by)
  await expect(store.query(half(0))).rejects.toMatchObject({ code: '22012' })
  expect(await store.query(half(1))).toEqual([{ half: 1 }, { half: 2 }])
})

it('only a bounded number of texts become prepared statements', async () => {
  vi.resetModules()
  const own = await import('../../../store/database/prepared.ts')
  const texts = Array.from({ length: 150 }, (_, i) => own.prepared([`select ${i} as number`]))
  expect(texts.filter((each) => own.preparedName(each) !== undefined)).toHaveLength(100)
  expect(await store.query(texts[149]!)).toEqual([{ number: 149 }])
  expect(own.preparedName(own.prepared`select 7 as number`)).toBeDefined()
})
