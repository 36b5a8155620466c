/** Tests outcomes from Parquet files and database tables: accepted rows, refused rows with their errors, and size limits. */
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../../api/app.ts'
import { ingestParquet, parquetLimits } from '../../../api/outcomes/parquet-files.ts'
import { checkout, launcher } from '../../../temporal.config.ts'
import { renameColumn } from '../../support/rename-column.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { allFooter, hugePage } from '../../support/serving/hostile-parquet.ts'
import {
  openServingFixture,
  request,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

const parquet = 'application/vnd.apache.parquet'
const observed_at = '2026-01-01T00:00:00Z'
const directory = mkdtempSync(join(tmpdir(), 'tenure-outcomes-test-'))
let fixture: ServingFixture
let api: TestApi
let duck: DuckDBConnection
let key: string
let scoped: string

beforeAll(async () => {
  fixture = await openServingFixture()
  await fixture.route('iris', { proven: await fixture.register(irisSpec('iris')) })
  key = await fixture.key()
  scoped = await fixture.key({ models: ['iris'] })
  api = await startApi(fixture)
  await until(() => api.serving.routing.find('iris') !== undefined, 'the route')
  duck = await (await DuckDBInstance.create()).connect()
})
afterAll(async () => {
  duck.closeSync()
  await api.stop()
  await fixture.close()
  rmSync(directory, { recursive: true, force: true })
})

async function answered(count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => api.ask('iris', request()).predictions[0]!.id)
  await api.serving.log.flush()
  await until(() => api.serving.log.counts().waiting === 0, 'the log')
  return ids
}
const valuesOf = async (ids: readonly string[]) =>
  (
    await fixture.store.pool.query<{ value: unknown }>(
      `select value from outcomes where prediction_id = any($1::uuid[]) order by array_position($1::uuid[], prediction_id), revision`,
      [ids],
    )
  ).rows.map(({ value }) => value)

/** Writes the result of a query as a Parquet file. */
async function file(query: string, options = ''): Promise<string> {
  const path = join(directory, `${randomUUID()}.parquet`)
  await duck.run(`copy (${query}) to '${path}' (format parquet${options})`)
  return path
}
const send = (path: string) => post(readFileSync(path))
/** Sends a body of any bytes; the request helper of the fixture sends only text. */
async function post(body: Buffer<ArrayBuffer>) {
  const answer = await createApp({ ...api.deps, metrics: new Registry() }).app.request('/v1/outcomes/bulk', {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': parquet },
    body,
  })
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> }
}
const rowsOf = (rows: readonly (readonly [string, string, string])[]) =>
  `select * from (values ${rows.map((row) => `(${row.join(', ')})`).join(', ')}) as t (prediction_id, value, observed_at)`

describe('a Parquet file', () => {
  it.each(['snappy', 'gzip', 'brotli', 'zstd', 'lz4', 'uncompressed'])(
    'packed as %s is stored',
    async (codec) => {
      const [one = '', two = ''] = await answered(2)
      const path = await file(
        rowsOf([
          [`uuid '${one}'`, `'setosa'`, `timestamp '2026-01-01 00:00:00.5'`],
          [`uuid '${two}'`, `'virginica'`, `timestamp '2026-01-02'`],
        ]),
        `, compression ${codec}`,
      )
      expect(await send(path)).toEqual({
        status: 200,
        json: { received: 2, accepted: 2, stored: 2, unknown: 0, refused: 0, issues: [] },
      })
      expect(await valuesOf([one, two])).toEqual(['setosa', 'virginica'])
      expect((await send(path)).json).toMatchObject({ accepted: 2, stored: 0 })
    },
  )

  it('reports its errors by row, and stores the valid rows', async () => {
    const [good = '', bad = ''] = await answered(2)
    const path = await file(
      rowsOf([
        [`'${good}'`, `'setosa'`, `'${observed_at}'`],
        [`'x'`, `'setosa'`, `'${observed_at}'`],
        [`'${bad}'`, `'rose'`, `'${observed_at}'`],
        [`'${bad}'`, 'null', `'${observed_at}'`],
        [`'${bad}'`, `'setosa'`, `'2999-01-01T00:00:00Z'`],
        [`'${good}'`, `'virginica'`, `'${observed_at}'`],
        [`'${randomUUID()}'`, `'setosa'`, `'${observed_at}'`],
      ]),
    )
    const { json } = await send(path)
    expect(json).toMatchObject({ received: 7, accepted: 3, stored: 3, unknown: 1, refused: 4 })
    expect(json['issues']).toEqual([
      expect.stringMatching(/^row 2: prediction_id/),
      expect.stringMatching(/^row 3: value: "rose" is not one of the classes/),
      expect.stringMatching(/^row 4: value/),
      expect.stringMatching(/^row 5: observed_at: is in the future/),
    ])
    // The second outcome of a prediction is a correction.
    expect(await valuesOf([good])).toEqual(['setosa', 'virginica'])
  })

  it('with a column twice is refused', async () => {
    const path = await file(`select 'a' as prediction_id, 1 as value, 2 as _alue, now() as observed_at`)
    renameColumn(path, '_alue', 'value')
    const { status, json } = await send(path)
    expect([status, json['detail']]).toEqual([
      400,
      'the Parquet file cannot be read: the file: two columns are named "value": rename one of them',
    ])
  })

  it.each([
    [
      'without a column',
      `select '${randomUUID()}' as prediction_id, 1 as value`,
      '',
      /it has no column observed_at/,
    ],
  ])('%s is refused', async (_, query, options, message) => {
    const { status, json } = await send(await file(query, options))
    expect([status, json['code']]).toEqual([400, 'invalid_request'])
    expect(json['detail']).toMatch(message)
  })

  it('is refused if it is not Parquet or is truncated', async () => {
    const path = await file(rowsOf([[`'a'`, '1', `'b'`]]))
    truncateSync(path, 100)
    for (const body of ['', 'PAR1', 'x'.repeat(1_000), readFileSync(path)]) {
      const { status, json } = await post(Buffer.from(body as string))
      expect([status, json['code']]).toEqual([400, 'invalid_request'])
      expect(json['detail']).toMatch(/cannot be read/)
    }
  })

  it('that exceeds a size limit is refused before it is read', async () => {
    const path = await file(
      `select uuid()::varchar as prediction_id, 1 as value, now() as observed_at from range(4096)`,
    )
    const before = { ...parquetLimits }
    const refused = async () => (await send(path)).json
    try {
      for (const [limit, message] of [
        [{ fileBytes: 1_000 }, /the file has more than 1000 bytes/],
        [{ rows: 4_095 }, /the file has 4096 rows, the limit is 4095/],
        [{ footerBytes: 200 }, /the footer has \d+ bytes, the limit is 200/],
      ] as const) {
        Object.assign(parquetLimits, before, limit)
        expect(await refused()).toMatchObject({
          status: 413,
          code: 'body_too_large',
          detail: expect.stringMatching(message),
        })
      }
    } finally {
      Object.assign(parquetLimits, before)
    }
  })

  it.each([
    ['that is all footer', 256, allFooter(5_000_000), /body_too_large: the footer has 50000\d\d bytes/],
    ['whose page announces a billion values', 512, hugePage({ values: 1e9 }), /^taken$/],
    [
      'whose page announces two gigabytes',
      512,
      hugePage({ bytes: 2e9 }),
      /body_too_large: .* MiB or 30 s to read|invalid_request: .*cannot be read/,
    ],
  ])('%s does not end a process with a heap of %d MiB', async (_, heapMb, bytes, message) => {
    const path = join(directory, `${randomUUID()}.parquet`)
    writeFileSync(path, bytes)
    const argv = [`--max-old-space-size=${heapMb}`, launcher, 'test/support/serving/parquet-upload.ts', path]
    const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: checkout })
    expect(stdout).toMatch(message)
  })

  it('waits while two are being read', async () => {
    let release = () => {}
    const slow = new Promise<void>((resolve) => (release = resolve))
    async function* body() {
      yield Buffer.from('PAR1')
      await slow
    }
    const unused = { key: 'prediction_id' as const, takeRow: () => Promise.resolve() }
    const reading = [ingestParquet(body(), unused), ingestParquet(body(), unused)]
    const third = await post(Buffer.from('PAR1'))
    release()
    expect(third.json).toMatchObject({ status: 503, code: 'overloaded' })
    for (const each of await Promise.allSettled(reading)) expect(each.status).toBe('rejected')
    expect((await post(Buffer.from('PAR1'))).json).toMatchObject({ code: 'invalid_request' })
  })
})

describe('a table', () => {
  const copy = (body: object, as = key) => api.request('POST', '/v1/outcomes/bulk', { key: as, body })

  it('is copied by its column names, and continues from a timestamp', async () => {
    const ids = await answered(3)
    await fixture.store.pool.query('create schema crm')
    await fixture.store.pool.query(
      `create table crm."the ""labels""" (id uuid, "what; is" text, "when" timestamptz)`,
    )
    await fixture.store.pool.query(
      `insert into crm."the ""labels""" select id, case n when 3 then 'rose' else 'setosa' end, timestamptz '2026-01-01T00:00:00.25+02' + n * interval '1 day'
       from unnest($1::uuid[]) with ordinality as t (id, n)`,
      [ids],
    )
    await fixture.store.pool.query(
      `grant usage on schema crm to tenure_reader; grant select on crm."the ""labels""" to tenure_reader`,
    )
    const asked = {
      schema: 'crm',
      table: 'the "labels"',
      columns: { prediction_id: 'id', value: 'what; is', observed_at: 'when' },
    }
    const { status, json } = await copy(asked)
    expect([status, json]).toEqual([
      200,
      {
        received: 3,
        accepted: 2,
        stored: 2,
        unknown: 0,
        refused: 1,
        issues: [expect.stringMatching(/^row 3: value: "rose"/)],
      },
    ])
    expect(await valuesOf(ids)).toEqual(['setosa', 'setosa'])
    const { rows } = await fixture.store.pool.query<{ observed_at: Date }>(
      'select observed_at from outcomes where prediction_id = $1',
      [ids[0]],
    )
    expect(rows[0]?.observed_at.toISOString()).toBe('2026-01-01T22:00:00.250Z')
    expect((await copy({ ...asked, since: '2026-01-03T00:00:00Z' })).json).toMatchObject({ received: 1 })
  })

  it('may be a view, of plain types', async () => {
    const [id = ''] = await answered(1)
    await fixture.store.pool.query(
      `create view labels as select '${id}'::text as prediction_id, 'setosa'::varchar as value, timestamp '2026-01-01 12:00' as observed_at`,
    )
    expect((await copy({ table: 'labels' })).json).toMatchObject({
      status: 400,
      detail: expect.stringMatching(/permission denied for view labels.* run "grant select on/),
    })
    await fixture.store.pool.query('grant select on labels to tenure_reader')
    expect((await copy({ table: 'labels' })).json).toMatchObject({ stored: 1 })
    expect((await copy({ table: 'labels' })).json).toMatchObject({ accepted: 1, stored: 0 })
  })

  it.each<[object, RegExp]>([
    [{ table: 'nothing' }, /no table or view "public"."nothing"/],
    [{ table: 'labels; drop table outcomes' }, /no table or view/],
    [{ table: 'models' }, /"public"."models" has no column "prediction_id"; it has name/],
    [
      { table: 'api_keys', columns: { prediction_id: 'id', value: 'hash', observed_at: 'created_at' } },
      /"hash" is of the type bytea/,
    ],
    [{ table: '' }, /table/],
    [{ table: 'x'.repeat(64) }, /table/],
    [{ query: 'select 1' }, /query/],
    [{ table: 'labels', since: 'yesterday' }, /since/],
  ])('%j is refused', async (body, message) => {
    const { status, json } = await copy(body)
    expect([status, json['code']]).toEqual([400, 'invalid_request'])
    expect(json['detail']).toMatch(message)
  })

  it('requires an admin of all models', async () => {
    const caller = await fixture.key({ role: 'predictor' })
    await api.deps.authentication.refresh()
    for (const as of [caller, scoped])
      expect((await copy({ table: 'labels' }, as)).json).toMatchObject({ status: 403, code: 'forbidden' })
  })
})
