/** Tests the order of the outcomes of a table, and where the next call continues. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { readOutcomeTable } from '../../../store/monitoring/outcome-tables.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
afterAll(() => store.close())

/** Copies the table in calls of two rows and returns the ids of each call. */
async function copied(table: string): Promise<string[][]> {
  const calls: string[][] = []
  let since: string | undefined
  do {
    const ids: string[] = []
    since = await readOutcomeTable(
      store,
      {
        schema: 'public',
        table,
        columns: { predictionId: 'id', value: 'value', observedAt: 'at' },
        ...(since === undefined ? {} : { since }),
        limit: 2,
      },
      async (outcomes) => void ids.push(...outcomes.map(({ key }) => key!)),
    )
    calls.push(ids.sort())
  } while (since !== undefined && calls.length < 10)
  return calls
}

it.each(['timestamptz', 'timestamp', 'date', 'text'])('continues after the rows of one %s', async (type) => {
  const table = `ties_${type}`
  await store.pool.query(`create table ${table} (id text, value text, at ${type})`)
  const days = { a: 1, b: 2, c: 2, d: 2, e: 3, f: 4, g: 4 }
  for (const [id, day] of Object.entries(days))
    await store.pool.query(`insert into ${table} values ('${id}', 'x', '2026-01-0${day}T00:00:00Z')`)
  await store.pool.query(`grant select on ${table} to tenure_reader`)
  expect(await copied(table)).toEqual([['a', 'b', 'c', 'd'], ['e', 'f', 'g'], []])
})

it('reads texts in the order of their times, and the ones that are no times last', async () => {
  await store.pool.query('create table texts (id text, value text, at text)')
  await store.pool
    .query(`insert into texts values ('b', 'x', '2026-01-02T00:30:00+02:00'), ('a', 'x', '2026-01-01T22:00:00.123456Z'),
    ('c', 'x', '2026-01-01T23:00:00Z'), ('d', 'x', '2100-02-29T00:00:00Z'), ('e', 'x', '2028-02-29T00:00:00Z')`)
  await store.pool.query('grant select on texts to tenure_reader')
  expect(await copied('texts')).toEqual([['a', 'b'], ['c', 'e'], []])
  const all: (string | null)[] = []
  const columns = { predictionId: 'id', value: 'value', observedAt: 'at' }
  await readOutcomeTable(store, { schema: 'public', table: 'texts', columns, limit: 9 }, async (outcomes) => {
    all.push(...outcomes.map(({ key }) => key))
  })
  expect(all).toEqual(['a', 'b', 'c', 'e', 'd'])
})
