/**
 * Tests that one deletion leaves nothing of a model in any table of the database's catalogue, and everything of another model. A new table
 * is tried by itself.
 */
import pg from 'pg'
import sql, { raw } from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import {
  countRowsOfModel,
  deleteModelRows,
  deleteUnusedModel,
  listLeftovers,
  listUnsweptNames,
  sweepLeftover,
  sweptTables,
} from '../../../store/registry/deleted-models.ts'
import { findModel } from '../../../store/registry/models.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { dropRules, listTables, tableFiller, type Table } from '../../support/every-table.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

const [own, other] = ['zinnia', 'aster']
let store: Store
let tables: Table[]
let filler: ReturnType<typeof tableFiller>

beforeAll(async () => {
  store = openStore(await migratedDatabase())
  tables = await listTables(store)
  // The values of the rows say nothing; the foreign keys stay.
  await dropRules(store, { constraints: ['c'], ruled: 'audit' })
  filler = tableFiller(store, tables, [own, other])
  for (const { name, policy } of tables)
    if (policy !== null && name !== 'audit') for (const model of [own, other]) await filler.fill(name, model)
})
afterAll(() => store.close())

/** What happens to a foreign key when the row that it names is deleted. */
interface Key {
  child: string
  parent: string
  cascades: boolean
}

const listKeys = () =>
  store.query<Key & Record<string, unknown>>(sql`
    select conrelid::regclass::text as child, confrelid::regclass::text as parent, confdeltype = 'c' as cascades
    from pg_constraint where contype = 'f' and conparentid = 0 and connamespace = 'public'::regnamespace`)

/** The tables with a text in a row. */
async function tablesWith(text: string): Promise<string[]> {
  const found: string[] = []
  for (const { name } of tables) {
    const table = raw(pg.escapeIdentifier(name))
    const rows = await store.query(
      sql`select from ${table} as row_of where strpos(row_of::text, ${text}) > 0 limit 1`,
    )
    if (rows.length > 0) found.push(name)
  }
  return found
}

const remove = (model: string) =>
  store.transaction(async (database) => {
    const keys = await deleteModelRows(database, model)
    await appendAudit(database, {
      actor: 'olga',
      action: 'model.purged',
      subject: model,
      model,
      detail: {},
    })
    return keys
  })

async function sweep(): Promise<void> {
  for (const leftover of await listLeftovers(store)) while ((await sweepLeftover(store, leftover)) > 0);
}

describe('the schema', () => {
  it('deletes each table that reaches a model by foreign keys with the model', async () => {
    const keys = await listKeys()
    const ofModels = new Set(['models'])
    for (let size = 0; size < ofModels.size;) {
      size = ofModels.size
      for (const { child, parent } of keys) if (ofModels.has(parent)) ofModels.add(child)
    }
    const isDeleted = (table: string) =>
      keys.some(({ child, parent, cascades }) => child === table && parent === 'models' && cascades)
    // A key between two tables that both go with the model is checked when both are gone.
    const left = keys.filter(
      ({ child, parent, cascades }) => ofModels.has(parent) && !cascades && !isDeleted(child),
    )
    expect(left).toEqual([])
    expect(ofModels.size).toBeGreaterThan(35)
  })

  it('finds what refers to a deleted row by an index', async () => {
    // Otherwise each of a thousand versions would be sought in all rows of every such table.
    const unindexed = await store.query(sql`
      select conrelid::regclass::text || '.' || attname as column from pg_constraint
        join pg_attribute on attrelid = conrelid and attnum = conkey[1]
      where contype = 'f' and conparentid = 0 and connamespace = 'public'::regnamespace
        and confrelid not in ('models'::regclass, 'replicas'::regclass, 'integrations'::regclass)
        and not exists (select from pg_index where indrelid = conrelid and indkey[0] = conkey[1] and indpred is null)
      order by 1`)
    // These have a row for each model, or for what has not been sent yet.
    const small = ['champions', 'champion_watch', 'sent_alerts']
    expect(unindexed.filter(({ column }) => !small.includes(String(column).split('.')[0]!))).toEqual([])
  })

  it('has no other table with a model than those that are deleted with it, swept, or named here', async () => {
    const keys = await listKeys()
    const bound = new Set(keys.filter(({ parent }) => parent === 'models').map(({ child }) => child))
    const loose = tables
      .filter(({ columns }) => columns.some(({ name }) => name === 'model' || name === 'model_name'))
      .map(({ name }) => name)
      .filter((name) => !bound.has(name))
    const reasons = {
      audit: 'append-only',
      alerts: 'ended with the model, and swept when their channels were told',
      model_files: 'deleted by name: files are sent before there is a model',
    }
    expect(loose.toSorted()).toEqual([...Object.keys(reasons), ...sweptTables].toSorted())
  })
})

describe('a deleted model', () => {
  it('leaves nothing in any table once it is swept, and the other model keeps every row', async () => {
    const before = await tablesWith(other)
    const filled = tables
      .filter(({ policy, name }) => policy !== null && name !== 'audit')
      .map(({ name }) => name)
    const counts = await countRowsOfModel(store, own)
    expect(Object.keys(counts)).toEqual(
      filled.filter((name) =>
        tables.find((each) => each.name === name)!.columns.some((each) => each.name === 'model'),
      ),
    )
    const [{ rows: all }] = (await store.query<{ rows: number }>(
      sql`select count(*) as rows from releases`,
    )) as [{ rows: number }]
    await remove(own)
    await store.query(sql`update alerts set resolved_at = now() - interval '2 hours' where model = ${own}`)
    expect(await listUnsweptNames(store, [own, other, 'poppy'])).toEqual([own])
    await sweep()
    expect(await listUnsweptNames(store, [own])).toEqual([])
    // Views and replicas belong to no model; the answers of commands go with their keys.
    expect(await tablesWith(own)).toEqual([
      'audit',
      'feature_history',
      'feature_latest',
      'feature_views',
      'idempotent_requests',
      'replicas',
    ])
    expect(await tablesWith(other)).toEqual(before)
    expect(await store.query(sql`select from releases`)).toHaveLength(all - 1)
    expect(await countRowsOfModel(store, own)).toEqual({})
  })

  it('is swept of rows that a replica stores later, with the outcomes of its requests', async () => {
    const id = '01900000-0000-7000-8000-000000000000'
    await store.query(sql`
      insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
      values (${id}, now(), ${own}, 'v', 'champion', 1, 1, '', '{0}', 1)`)
    await store.query(
      sql`insert into outcomes (id, prediction_id, value, observed_at) overriding system value values (99, ${id}, '1', now())`,
    )
    expect(await listUnsweptNames(store, [own])).toEqual([own])
    await sweep()
    expect(await store.query(sql`select from outcomes where prediction_id = ${id}`)).toEqual([])
    expect(await countRowsOfModel(store, own)).toEqual({})
  })

  it('gives its name to a new model, whose rows a sweep that has begun before leaves', async () => {
    const add = () =>
      store.query(sql`
        insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
        values (${own}, 'late', 'v', 'champion', now(), 1, 1, 1)`)
    await add()
    const leftovers = await listLeftovers(store)
    await sweep()
    await store.query(sql`insert into models (name, definition, code_digest) values (${own}, '{}', 'c')`)
    await add()
    expect(leftovers.map(({ table }) => table)).toEqual(['tick_counters'])
    expect(await sweepLeftover(store, leftovers[0]!)).toBe(0)
    await remove(own)
    await sweep()
    expect(await countRowsOfModel(store, own)).toEqual({})
  })

  it('leaves a snapshot and its trainings to another model that has validated equal rows', async () => {
    await store.query(
      sql`insert into models (name, definition, code_digest) values ('poppy', '{}', 'c'), ('daisy', '{}', 'c')`,
    )
    await store.query(sql`
      insert into snapshots (digest, model, as_of, rows, bytes, columns, source) values ('equal', 'poppy', now(), 1, 1, '{}', '{}')`)
    for (const model of ['poppy', 'daisy']) {
      await store.query(sql`
        insert into validations (id, model, snapshot_digest, verdict, report) values (${`val ${model}`}, ${model}, 'equal', 'pass', '{}')`)
      await store.query(sql`
        insert into trainings (id, model, snapshot_digest, seed, code_digest, dependencies_digest, status)
        values (${`trn ${model}`}, ${model}, 'equal', 1, 'c', 'd', 'done')`)
    }
    await remove('poppy')
    expect(await store.query(sql`select model from snapshots where digest = 'equal'`)).toEqual([
      { model: 'daisy' },
    ])
    expect(await store.query(sql`select id from trainings where snapshot_digest = 'equal'`)).toEqual([
      { id: 'trn daisy' },
    ])
  })

  it('takes its keys along: one of it alone is revoked, another loses it', async () => {
    await store.query(sql`insert into models (name, definition, code_digest) values ('rose', '{}', 'c')`)
    await store.query(sql`
      insert into api_keys (id, name, hash, role, models)
      values ('k1', 'one', 'a', 'operator', '{rose}'), ('k2', 'two', 'b', 'operator', '{rose,aster}'), ('k3', 'three', 'c', 'operator', null),
        ('k4', 'four', 'd', 'operator', '{rose,rose}')`)
    expect((await remove('rose')).toSorted()).toEqual(['k1', 'k2', 'k4'])
    expect(
      await store.query(sql`
        select name, models, revoked_at is not null as revoked from api_keys where id in ('k1', 'k2', 'k3', 'k4') order by id`),
    ).toEqual([
      { name: 'one', models: ['rose'], revoked: true },
      { name: 'two', models: ['aster'], revoked: false },
      { name: 'three', models: null, revoked: false },
      { name: 'four', models: ['rose', 'rose'], revoked: true },
    ])
  })
})

describe('a model without a file', () => {
  it('is deleted while it is unused, and kept by a row of any table that refers to it', async () => {
    const keys = await listKeys()
    const name = 'tulip'
    const add = () =>
      store.query(sql`insert into models (name, definition, code_digest) values (${name}, '{}', 'c')`)
    await add()
    await store.query(sql`
      insert into monitor_windows (model, from_at, to_at, facts, findings, judge) values (${name}, now(), now() + interval '1 s', '{}', '[]', 'j')`)
    expect(await deleteUnusedModel(store, name)).toBe(true)
    expect(await findModel(store, name)).toBeUndefined()
    const unused = ['monitor_windows', 'request_fields', 'trigger_positions']
    const referring = keys
      .filter(({ child, parent }) => parent === 'models' && !unused.includes(child))
      .map(({ child }) => child)
    expect(referring.length).toBeGreaterThan(20)
    for (const table of referring) {
      const kept = tableFiller(store, tables, ['', '', '', name])
      await kept.fill(table, name)
      expect([table, await deleteUnusedModel(store, name)]).toEqual([table, false])
      await remove(name)
      await sweep()
    }
  })
})
