/**
 * Tries every table of the database's catalogue with a key of one model, while each table has a row of it and a row of another model. A
 * new table is tried by itself, and must declare how its rows belong to models.
 */
import pg from 'pg'
import sql, { raw, type Sql } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withClient } from '../../../store/database/binary-copy.ts'
import { ownReader } from '../../../store/database/cursor.ts'
import { prepared } from '../../../store/database/prepared.ts'
import { openStore, scopedRole, type Store } from '../../../store/postgres.ts'
import { dropRules, listTables, tableFiller, type Table } from '../../support/every-table.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

const own = 'zinnia'
const other = 'aster'

let url: string
let store: Store
let tables: Table[]
let rows: ReturnType<typeof tableFiller>['rows']

beforeAll(async () => {
  url = await migratedDatabase()
  store = openStore(url)
  tables = await listTables(store)
  // The rows are of no use but their model, so nothing but the scope is left of their rules.
  await dropRules(store, { constraints: ['f', 'c'] })
  const filler = tableFiller(store, tables, [own, other])
  ;({ rows } = filler)
  for (const { name } of tables.filter(({ policy }) => policy !== null))
    for (const model of [own, other]) await filler.fill(name, model)
})
afterAll(() => store.close())

const scoped = () => store.scoped({ id: `key-${own}`, name: 'ada', models: [own] })
const denied = expect.objectContaining({ code: 'forbidden', context: expect.anything() })

it('every table declares how its rows belong to models, or why they belong to none', () => {
  const undeclared = tables.filter(
    ({ policy, comment, privileges }) =>
      [
        policy !== null && comment === null,
        policy === null && /^read by every key: ./.test(comment ?? '') && privileges.join() === 'select',
        policy === null &&
          /^hidden from keys of some models: ./.test(comment ?? '') &&
          privileges.length === 0,
      ].filter(Boolean).length !== 1,
  )
  expect(undeclared.map(({ name }) => name)).toEqual([])
  expect(tables.filter(({ policy }) => policy !== null).length).toBeGreaterThan(45)
})

describe('a key of one model', () => {
  it('reads its rows alone in every table', async () => {
    for (const { name } of tables.filter(({ policy }) => policy !== null)) {
      const table = raw(pg.escapeIdentifier(name))
      const all = await store.query(sql`select from ${table}`)
      expect([name, all.length]).toEqual([name, 2])
      const found = await scoped().query(sql`select ${table}::text as row from ${table}`)
      expect([name, found.length]).toEqual([name, 1])
      expect(String(found[0]!['row']), name).not.toContain(other)
    }
  })

  it('changes and deletes its rows alone in every table', async () => {
    for (const { name, columns } of tables.filter(({ policy }) => policy !== null))
      for (const change of [
        sql`update ${raw(pg.escapeIdentifier(name))} set ${raw(`${pg.escapeIdentifier(columns.at(-1)!.name)} = ${pg.escapeIdentifier(columns.at(-1)!.name)}`)}`,
        sql`delete from ${raw(pg.escapeIdentifier(name))}`,
      ]) {
        const tried = scoped().transaction(async (database) => {
          const changed = await database.query(sql`${change} returning 1`)
          throw new Error(`${changed.length} rows`)
        })
        const outcome = await tried.catch((error: Error) => error.message)
        expect([name, outcome]).toEqual([name, expect.stringMatching(/^1 rows$|is limited to some models/)])
      }
  })

  it('writes no row of another model in any table', async () => {
    for (const { name, policy } of tables) {
      const table = raw(pg.escapeIdentifier(name))
      const row = policy === null ? undefined : rows[name]![other]
      const values = Object.keys(row ?? {})
        .map(pg.escapeIdentifier)
        .join(', ')
      const statement =
        row === undefined
          ? sql`insert into ${table} default values`
          : sql`insert into ${table} (${raw(values)}) overriding system value
            select ${raw(values)} from jsonb_populate_record(null::${table}, ${JSON.stringify(row)}::jsonb)`
      await expect(scoped().query(statement), name).rejects.toEqual(denied)
    }
  })

  it('moves no row of its own to another model', async () => {
    for (const { name, columns } of tables.filter(({ policy }) => policy?.startsWith('scope_allows(')))
      if (columns.some((each) => each.name === 'model') && name !== 'audit')
        await expect(
          scoped().query(sql`update ${raw(pg.escapeIdentifier(name))} set model = ${other}`),
          name,
        ).rejects.toEqual(denied)
  })
})

it('a statement of a key leaves neither its role nor its models on the connection, whatever becomes of it', async () => {
  const single = openStore(url, { max: 1 })
  const inScope = single.scoped({ id: 'key-1', name: 'ada', models: [own, 'two "words", a comma'] })
  const seen = prepared`select current_user::text as role, current_setting('tenure.key', true) as key,
    current_setting('tenure.models', true)::text[] as models`
  const tried: Record<string, Sql> = {
    rows: seen,
    'the same rows': seen,
    'no rows': sql`update releases set stage = stage where false`,
    'an error': sql`select 1 / 0`,
    'a syntax error': sql`select of`,
    'a hidden table': sql`select from api_keys`,
  }
  try {
    for (const [what, statement] of Object.entries(tried)) {
      const outcome = await inScope.query(statement).catch(() => 'failed')
      if (statement === seen)
        expect(outcome).toEqual([{ role: scopedRole, key: 'key-1', models: [own, 'two "words", a comma'] }])
      else expect([what, outcome]).toEqual([what, what === 'no rows' ? [] : 'failed'])
      const [left] = await single.query(
        sql`select current_user <> ${scopedRole} as "isOther", coalesce(current_setting('tenure.models', true), '') as models`,
      )
      expect([what, left]).toEqual([what, { isOther: true, models: '' }])
    }
  } finally {
    await single.close()
  }
})

it('a key of some models is lent no connection, and runs no query as another role', async () => {
  const { pool, readerUrl, metricSources } = scoped()
  expect(() => pool.connect()).toThrow('lends no connections')
  await expect(ownReader(scoped())('select 1', async () => {})).rejects.toThrow('lends no connections')
  await expect(withClient(scoped(), async () => {})).rejects.toThrow('lends no connections')
  expect([readerUrl, metricSources]).toEqual([undefined, undefined])
})

it('a process without a key, as the role of the application, has every row of every table', async () => {
  for (const { name } of tables) {
    const [read] = await store.query<{ ok: boolean }>(
      sql`select not row_security_active(oid) or exists (select from pg_policy where polrelid = pg_class.oid and polname = 'every_row'
        and polroles = array['tenure_app'::regrole::oid] and pg_get_expr(polqual, polrelid) = 'true') as ok
      from pg_class where relname = ${name} and relnamespace = 'public'::regnamespace`,
    )
    expect([name, read?.ok]).toEqual([name, true])
  }
})
