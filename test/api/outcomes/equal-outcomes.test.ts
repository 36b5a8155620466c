/**
 * Tests that one label is one outcome, whatever brings it: a list, NDJSON, a CSV, Parquet or a table. The labels and how each road writes
 * them are drawn: TENURE_TEST_TABLES=50 draws 50 lists of each kind, TENURE_TEST_SEED draws others.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql, { raw } from 'sql-template-tag'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { createApp } from '../../../api/app.ts'
import type { Output, OutcomeValue } from '../../../domain/tasks/output.ts'
import { truthOf } from '../../../domain/model/outcome.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { valueDraws } from '../../support/draws.ts'
import { environmentWith } from '../../../temporal.config.ts'
import { irisRow, irisSpec, randomLayer, seeded } from '../../support/serving/artifact.ts'
import { uniqueName } from '../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

const environment = environmentWith({})
const tables = Number(environment['TENURE_TEST_TABLES'] ?? 2)
const seed = Number(environment['TENURE_TEST_SEED'] ?? 1)

const folder = mkdtempSync(join(tmpdir(), 'tenure-equal-outcomes-'))
let fixture: ServingFixture
let api: TestApi
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  api = await startApi(fixture)
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
  rmSync(folder, { recursive: true })
})

const { chance, whole, oneOf } = valueDraws(seed)

/** Labels, how a text writes each, and the types that hold them. */
interface Labels {
  output: Output
  draw: () => boolean | number | string
  written?: (value: string) => readonly string[]
  inParquet: readonly string[]
  inPostgres: readonly string[]
}

const number: Output = { kind: 'number' }
const kinds: Record<string, Labels> = {
  'truth values': {
    output: { kind: 'probability', positive: 'late', threshold: 0.5 },
    draw: () => whole(2) === 1,
    written: (value) =>
      value === 'true' ? ['true', 'True', '1', '1.0', 'late'] : ['false', 'FALSE', '0', '0.0'],
    inParquet: ['BOOLEAN', 'INTEGER', 'BIGINT', 'DOUBLE', 'DECIMAL(4,1)', 'VARCHAR', 'BLOB'],
    inPostgres: ['boolean', 'integer', 'numeric(4,1)', 'double precision', 'text', 'char(6)'],
  },
  classes: {
    output: { kind: 'classes', classes: ['007', '7', 'true'] },
    draw: () => oneOf(['007', '7', 'true']),
    inParquet: ['VARCHAR', 'BLOB'],
    inPostgres: ['text', 'varchar(10)', 'char(10)'],
  },
  cents: {
    output: number,
    draw: () => Number((whole(100_000) / 100 - 500).toFixed(2)),
    written: (value) => [value, value.replace(/^(?!-)/, '+'), `${value}${value.includes('.') ? '' : '.'}0`],
    inParquet: ['DOUBLE', 'DECIMAL(5,2)', 'DECIMAL(12,3)', 'DECIMAL(30,2)', 'VARCHAR'],
    inPostgres: ['double precision', 'numeric', 'numeric(12,2)', 'text', 'char(12)'],
  },
  'long decimals': {
    output: number,
    draw: () => Number(`${whole(1_000)}.${1_000_000_000 + whole(9_000_000_000)}`),
    inParquet: ['DECIMAL(30,10)', 'DECIMAL(38,12)', 'DOUBLE', 'VARCHAR'],
    inPostgres: ['numeric', 'numeric(30,10)', 'text'],
  },
  floats: {
    output: number,
    draw: () => Math.fround(chance() - 0.5),
    inParquet: ['FLOAT', 'DOUBLE', 'VARCHAR'],
    inPostgres: ['real', 'double precision', 'text'],
  },
}

interface Row {
  value: boolean | number | string
  /** As each road may write it. */
  text: string
  /** In UTC, with microseconds. */
  at: string
}

const inZone = (at: string): string => {
  const [moment, fraction] = at.slice(0, -1).split('.')
  const later = new Date(Date.parse(`${moment}Z`) + 7_200_000).toISOString().slice(0, 19)
  return oneOf([
    at,
    at.replace('T', ' '),
    at.replace('T', ' ').replace('Z', '+00'),
    `${later}.${fraction}+02:00`,
  ])
}

const columns = 'prediction_id, value, observed_at'

/** Each road sends the rows as the outcomes of these predictions. */
const roads: Record<string, (ids: readonly string[], rows: readonly Row[], labels: Labels) => Promise<void>> =
  {
    async ndjson(ids, rows) {
      const lines = rows.map(({ value, at }, place) =>
        JSON.stringify({ prediction_id: ids[place], value, observed_at: at }),
      )
      await post('application/x-ndjson', lines.join('\n'))
    },
    async csv(ids, rows) {
      const lines = rows.map(({ text, at }, place) => `${ids[place]},${text},${inZone(at)}`)
      await post('text/csv', [columns.replaceAll(' ', ''), ...lines].join('\n'))
    },
    async parquet(ids, rows, { inParquet }) {
      const type = oneOf(inParquet)
      const isText = type === 'VARCHAR' || type === 'BLOB'
      const time = oneOf(['TIMESTAMP', 'TIMESTAMP_NS', 'TIMESTAMP WITH TIME ZONE', 'VARCHAR'])
      const cells = rows.map(({ value, text, at }, place) => {
        const given = textLiteral(isText ? text : String(value))
        const cast = type === 'BLOB' ? `encode(${given})` : `${given}::${castFrom(value, type)}::${type}`
        const moment = time === 'VARCHAR' ? inZone(at) : at
        return `(${textLiteral(ids[place]!)}, ${cast}, cast(${textLiteral(moment)} as ${time}))`
      })
      const path = join(folder, `${randomUUID()}.parquet`)
      await withDuck((duck) =>
        duck.run(
          `copy (select * from (values ${cells.join(', ')}) as t (${columns})) to ${textLiteral(path)} (format parquet, dictionary_size_limit ${oneOf([1, 100_000])})`,
        ),
      )
      await post('application/vnd.apache.parquet', readFileSync(path))
    },
    async table(ids, rows, { inPostgres }) {
      const type = oneOf(inPostgres)
      const isText = type === 'text' || type.includes('char')
      const time = oneOf(['timestamp', 'timestamptz', 'text'])
      const cells = rows.map(({ value, text, at }, place) => {
        const given = textLiteral(isText ? text : String(value))
        return `(${textLiteral(ids[place]!)}::uuid, ${given}::${castFrom(value, type)}::${type}, ${textLiteral(at)}::${time})`
      })
      const table = uniqueName('labels')
      await fixture.store.query(
        sql`create table ${raw(`"${table}"`)} as select * from (values ${raw(cells.join(', '))}) as t (${raw(columns)})`,
      )
      await fixture.store.query(sql`grant select on ${raw(`"${table}"`)} to tenure_reader`)
      await post('application/json', JSON.stringify({ table }))
    },
  }

/** A truth value becomes a number in two casts. */
const castFrom = (value: unknown, type: string): string =>
  typeof value !== 'boolean' || /char|text|BLOB/i.test(type)
    ? type
    : /bool/i.test(type)
      ? type
      : 'boolean::integer'

async function post(type: string, body: string | Buffer<ArrayBuffer>): Promise<void> {
  const answer = await createApp({ ...api.deps, metrics: new Registry() }).app.request('/v1/outcomes/bulk', {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    body,
  })
  expect(await answer.json(), type).toMatchObject({ issues: [], refused: 0 })
}

/** The stored outcomes: value and time. */
async function stored(ids: readonly string[]) {
  const rows = await fixture.store.query<{ value: OutcomeValue; at: string }>(sql`
    select value, to_char(observed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at
    from unnest(${[...ids]}::uuid[]) with ordinality as sent (id, place) join outcomes on prediction_id = sent.id order by place`)
  return rows.map(({ value, at }) => ({ value, at }))
}

it.each(Object.keys(kinds))(
  `${tables} drawn lists of %s are one list of outcomes from each road, also of predictions that the log has later (seed ${seed})`,
  async (name) => {
    const labels = kinds[name]!
    const spec = { ...irisSpec(uniqueName('labels')), output: labels.output }
    if (labels.output.kind !== 'classes') spec.layers = [randomLayer(4, 1, 'sigmoid', seeded(3))]
    await api.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
    for (let at = 0; at < tables; at++) {
      const rows = Array.from({ length: 20 }, (): Row => {
        const value = labels.draw()
        const text = oneOf(labels.written?.(String(value)) ?? [String(value)])
        const moment = new Date(Date.UTC(2026, 0, 1) + whole(4_000_000) * 1_000).toISOString().slice(0, 19)
        return { value, text, at: `${moment}.${String(whole(1_000_000)).padStart(6, '0')}Z` }
      })
      const wanted = rows.map(({ value, at: moment }) => ({ value, at: moment }))
      for (const [road, send] of Object.entries(roads)) {
        const { predictions } = api.ask(spec.model, { instances: rows.map(() => irisRow) })
        await api.serving.log.flush()
        const known = predictions.map(({ id }) => id)
        await send(known, rows, labels)
        expect(await stored(known), `list ${at} by ${road}`).toEqual(wanted)
        const unknown = rows.map(() => randomUUID())
        await send(unknown, rows, labels)
        const truths = (await stored(unknown)).map(({ value }) => truthOf(value, labels.output))
        expect(truths, `list ${at} by ${road}, of predictions that are not in the log yet`).toEqual(
          rows.map(({ value }) => truthOf(value, labels.output)),
        )
      }
    }
  },
)
