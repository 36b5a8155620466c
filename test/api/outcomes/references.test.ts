/** Tests outcomes by the references of requests: stored alike in every way that outcomes come, and refused by name. */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../../api/app.ts'
import type { Actor } from '../../../api/auth/authentication.ts'
import { streamCountOf } from '../../../api/streams/counts.ts'
import { createStoring, outcomeRecords } from '../../../api/streams/storing.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let duck: DuckDBConnection
let key: string
let version: string
const directory = mkdtempSync(join(tmpdir(), 'tenure-references-test-'))
const day = (of: number) => `2026-01-0${of}T00:00:00.000Z`

beforeAll(async () => {
  fixture = await openServingFixture()
  version = await fixture.register(irisSpec())
  const routes = [
    await fixture.route('iris', { proven: version }),
    await fixture.route('tulip', { proven: await fixture.register(irisSpec('tulip')) }),
  ]
  key = await fixture.key()
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
  duck = await (await DuckDBInstance.create()).connect()
})
afterAll(async () => {
  duck.closeSync()
  await api.stop()
  await fixture.close()
  rmSync(directory, { recursive: true })
})

interface Row {
  name: string
  value: string
  at: string
  instance?: number
}
type By = 'prediction_id' | 'reference'
type Counts = Record<string, unknown>

/** Asks with a reference, waits for the log, and returns the id of the first prediction. */
async function asked(reference: string, model = 'iris', instances = request().instances): Promise<string> {
  const { id } = api.ask(model, { instances, reference }).predictions[0]!
  await api.serving.log.flush()
  return id
}
const fresh = () => `A-${randomUUID()}`
const bulk = (by: By) => `/v1/outcomes/bulk${by === 'reference' ? '?model=iris' : ''}`
const post = async (path: string, type: string, body: string | Buffer<ArrayBuffer>): Promise<Counts> => {
  const answer = await createApp({ ...api.deps, metrics: new Registry() }).app.request(path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    body,
  })
  return (await answer.json()) as Counts
}
const send = (outcomes: object[], as = key) =>
  api.request('POST', '/v1/outcomes', { key: as, body: { outcomes } })
const outcomeOf = (by: By, { name, value, at, instance }: Row) => ({
  [by]: name,
  ...(by === 'reference' && { model: 'iris' }),
  ...(instance !== undefined && { instance }),
  value,
  observed_at: at,
})
const relationOf = (by: By, rows: readonly Row[]) =>
  `select * from (values ${rows
    .map(
      ({ name, value, at, instance }) => `('${name}', '${value}', '${at}', ${instance ?? 'null'}::integer)`,
    )
    .join()}) as rows (${by}, value, observed_at, instance)`

const labeller: Actor = { id: 'stream', name: 'stream', role: 'labeller' }
async function stream(values: readonly unknown[]) {
  const storing = createStoring(outcomeRecords(fixture.store, Date.now), {
    group: 'group',
    dead: 'dead',
    count: streamCountOf('labels'),
    stopping: () => false,
  })
  const records = values.map((value, place) => ({
    key: Buffer.from('k'),
    value: Buffer.from(JSON.stringify(value)),
    place: `labels/0/${place}`,
    atMs: 1,
    headerOf: () => undefined,
  }))
  return storing({ records, isLost: () => false }, labeller)
}

/** Each way sends the rows, and returns the messages of those that are refused. */
const ways: Record<string, (by: By, rows: readonly Row[]) => Promise<string>> = {
  async list(by, rows) {
    let told = ''
    // One list has one outcome of a prediction.
    for (const row of rows) told += String((await send([outcomeOf(by, row)])).json['detail'] ?? '')
    return told
  },
  ndjson: async (by, rows) => {
    const lines = rows.map((row) => {
      const { model: _model, ...line } = outcomeOf(by, row) as Record<string, unknown>
      return JSON.stringify(line)
    })
    return JSON.stringify(await post(bulk(by), 'application/x-ndjson', lines.join('\n')))
  },
  csv: async (by, rows) => {
    const lines = rows.map(({ name, value, at, instance }) => `${at},${value},${instance ?? ''},"${name}"`)
    return JSON.stringify(
      await post(bulk(by), 'text/csv', `observed_at,value,instance,${by}\n${lines.join('\n')}\n`),
    )
  },
  parquet: async (by, rows) => {
    const path = join(directory, `${randomUUID()}.parquet`)
    await duck.run(`copy (${relationOf(by, rows)}) to '${path}' (format parquet)`)
    return JSON.stringify(await post(bulk(by), 'application/vnd.apache.parquet', readFileSync(path)))
  },
  table: async (by, rows) => {
    const table = `truth_${randomUUID().replaceAll('-', '')}`
    await fixture.store.pool.query(`create table ${table} as ${relationOf(by, rows)}`)
    await fixture.store.pool.query(`grant select on ${table} to tenure_reader`)
    const columns = by === 'reference' ? { columns: { instance: 'instance' } } : {}
    return JSON.stringify(await post(bulk(by), 'application/json', JSON.stringify({ table, ...columns })))
  },
  stream: async (by, rows) => {
    const handled = await stream(rows.map((row) => outcomeOf(by, row)))
    return handled?.sent.map(({ headers }) => JSON.stringify(headers)).join() ?? 'lost'
  },
}

/** The outcomes that join a prediction. */
const joined = async (id: string) =>
  (
    await fixture.store.query<{ value: unknown; revision: number; observed_at: Date }>(sql`
      select value, revision, observed_at from outcomes join predictions on predictions.id = request_id
      where prediction_id = ${id} order by revision`)
  ).map(({ observed_at, ...rest }) => ({ ...rest, at: observed_at.toISOString() }))

/** Stores a request of 80 days ago. */
async function old(reference: string): Promise<string> {
  const atMs = Date.now() - 80 * 86_400_000
  const id = `${atMs.toString(16).padStart(12, '0')}7${randomUUID().replaceAll('-', '').slice(13, 28)}0000`
  const [row] = await fixture.store.query<{ id: string }>(sql`
    insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us, reference)
    values (${id}, ${new Date(atMs)}, 'iris', ${version}, 'champion', 1, 1, '', '{1,0,0}', 1, ${reference}) returning id`)
  return row!.id
}

describe.each(Object.entries(ways))('outcomes in the way "%s"', (_way, sent) => {
  it.each([
    ['a request just made', asked],
    ['a request of 80 days ago', old],
  ])('by reference join as those by id, late, repeated and corrected: %s', async (_when, make) => {
    const name = { prediction_id: '', reference: fresh() }
    name.prediction_id = await make(fresh())
    const other = await make(name.reference)
    for (const by of ['prediction_id', 'reference'] as const)
      for (const rows of [
        [['setosa', 1]],
        [['setosa', 1]],
        [['virginica', 3]],
        [['setosa', 1]],
        [
          ['versicolor', 4],
          ['setosa', 5],
        ],
      ] as [string, number][][])
        await sent(
          by,
          rows.map(([value, of]) => ({ name: name[by], value, at: day(of) })),
        )
    expect(await joined(other)).toEqual([
      { value: 'setosa', revision: 1, at: day(1) },
      { value: 'virginica', revision: 2, at: day(3) },
      { value: 'versicolor', revision: 3, at: day(4) },
      { value: 'setosa', revision: 4, at: day(5) },
    ])
    expect(await joined(name.prediction_id)).toEqual(await joined(other))
  })

  it('name the row of a request with several', async () => {
    const name = fresh()
    const id = await asked(name, 'iris', [...request().instances, ...request().instances])
    const row = { name, value: 'setosa', at: day(1) }
    expect(await sent('reference', [row])).toContain(
      `that of the request ${id}, which has 2 rows; name one as`,
    )
    expect(await sent('reference', [{ ...row, instance: 2 }])).toContain('has an instance 2; the first is 0')
    await sent('reference', [{ ...row, instance: 1 }])
    expect(await joined(id)).toEqual([])
    expect(await joined(id.replace(/0000$/, '0001'))).toHaveLength(1)
  })

  it.each([
    ['that is empty', '', /reference: is empty/],
    ['that is too long', 'x'.repeat(201), /reference: has more than 200 /],
  ])('refuse a reference %s', async (_what, name, message) => {
    expect(await sent('reference', [{ name, value: 'setosa', at: day(1) }])).toMatch(message)
  })
})

describe('a reference', () => {
  const outcome = (reference: string, change: object = {}) => ({
    model: 'iris',
    reference,
    value: 'setosa',
    observed_at: day(1),
    ...change,
  })

  it('names all requests of its model, and none of another', async () => {
    const name = fresh()
    const ids = [await asked(name), await asked(name)]
    const other = await asked(name, 'tulip')
    expect((await send([outcome(name)])).json).toEqual({ received: 1, accepted: 1, stored: 2, unknown: 0 })
    expect((await send([outcome(name)])).json).toEqual({ received: 1, accepted: 1, stored: 0, unknown: 0 })
    for (const id of ids) expect(await joined(id)).toHaveLength(1)
    expect(await joined(other)).toEqual([])
  })

  it('that is not in the log is counted, not stored, and a dead letter of a topic', async () => {
    const name = fresh()
    expect((await send([outcome(name)])).json).toEqual({ received: 1, accepted: 0, stored: 0, unknown: 1 })
    const handled = await stream([outcome(name)])
    expect(handled?.sent[0]?.headers['tenure-error']).toBe('not_found')
    const id = await asked(name)
    expect(await joined(id)).toEqual([])
    await send([outcome(name)])
    expect(await joined(id)).toHaveLength(1)
  })

  it('is found right after the response, which the log stores a moment later', async () => {
    const name = fresh()
    const { id } = api.ask('iris', { ...request(), reference: name }).predictions[0]!
    const { json } = await send([outcome(name, { observed_at: new Date().toISOString() })])
    expect(json).toEqual({ received: 1, accepted: 1, stored: 1, unknown: 0 })
    expect(await joined(id)).toHaveLength(1)
  })

  it('of more than 100 requests is refused', async () => {
    const name = fresh()
    for (let i = 0; i < 101; i++) api.ask('iris', { ...request(), reference: name })
    await api.serving.log.flush()
    expect((await send([outcome(name)])).json['detail']).toMatch(/is that of more than 100 requests/)
  })

  it('names only requests that a predictor made with its own key, and only models of the key', async () => {
    const name = fresh()
    const own = await fixture.key({ role: 'predictor' })
    const scoped = await fixture.key({ role: 'labeller', models: ['tulip'] })
    await api.deps.authentication.refresh()
    const other = await asked(name)
    expect((await send([outcome(name)], own)).json).toMatchObject({ unknown: 1, stored: 0 })
    const body = { instances: request().instances, reference: name }
    const { json } = await api.request('POST', '/v1/models/iris/predict', { key: own, body })
    await api.serving.log.flush()
    expect((await send([outcome(name)], own)).json).toMatchObject({ unknown: 0, stored: 1 })
    expect(await joined((json['predictions'] as { id: string }[])[0]!.id)).toHaveLength(1)
    expect(await joined(other)).toEqual([])
    expect((await send([outcome(name)], scoped)).json).toMatchObject({
      code: 'forbidden',
      detail: expect.stringMatching(/has no access to the model iris/),
    })
  })

  it('and the id of one prediction are two outcomes of it, which a list does not have', async () => {
    const name = fresh()
    const id = await asked(name)
    const { json } = await send([
      outcome(name),
      { prediction_id: id, value: 'virginica', observed_at: day(2) },
    ])
    expect(json).toMatchObject({ status: 400, detail: `outcomes.1: the prediction ${id} has two outcomes` })
    expect(await joined(id)).toEqual([])
  })

  it.each([
    [{ prediction_id: randomUUID() }, /has either a prediction_id or a reference/],
    [{ reference: undefined, model: undefined }, /has either a prediction_id or a reference/],
    [{ model: undefined }, /has a model with a reference, and only then/],
    [{ reference: undefined, prediction_id: randomUUID() }, /has a model with a reference, and only then/],
    [
      { reference: undefined, model: undefined, prediction_id: randomUUID(), instance: 1 },
      /has an instance without a reference/,
    ],
    [{ reference: 'a\0' }, /contains NUL/],
    [{ reference: 5 }, /reference: /],
    [{ instance: -1 }, /instance: /],
    [{ instance: 1.5 }, /instance: /],
  ])('%j is refused', async (change, message) => {
    const { status, json } = await send([outcome('A-1', change)])
    expect([status, json['code']]).toEqual([400, 'invalid_request'])
    expect(json['detail']).toMatch(message)
  })

  it('may be a number in a Parquet file and in a table', async () => {
    const [one, two] = ['9007199254740993', '9007199254740995']
    const ids = [await asked(one), await asked(two)]
    const rows = (name: string) =>
      `select ${name}::bigint as reference, 'setosa' as value, now() as observed_at`
    const path = join(directory, 'orders.parquet')
    await duck.run(`copy (${rows(one)}) to '${path}' (format parquet)`)
    await post(bulk('reference'), 'application/vnd.apache.parquet', readFileSync(path))
    await fixture.store.pool.query(`create table orders as ${rows(two).replace('reference', '"order"')}`)
    await fixture.store.pool.query('grant select on orders to tenure_reader')
    const table = JSON.stringify({ table: 'orders', columns: { reference: 'order' } })
    await post(bulk('reference'), 'application/json', table)
    for (const id of ids) expect(await joined(id)).toHaveLength(1)
    expect(await post(bulk('prediction_id'), 'application/json', table)).toMatchObject({
      detail: expect.stringMatching(/name the model of the references as \?model=/),
    })
    const both = JSON.stringify({ table: 'orders', columns: { prediction_id: 'order' } })
    expect(await post(bulk('reference'), 'application/json', both)).toMatchObject({
      detail: expect.stringMatching(/prediction_id is not read with \?model=/),
    })
  })

  it.each([
    ['text/csv', 'prediction_id,value,observed_at\n', /lacks one of the columns reference, value/],
    ['text/csv', 'reference,value,value,observed_at\n', /two columns are named ..value/],
    ['application/x-ndjson', '5', /line 1/],
  ])('is what a file of the type %s names with ?model=', async (type, body, message) => {
    expect(JSON.stringify(await post(bulk('reference'), type, body))).toMatch(message)
  })
})
