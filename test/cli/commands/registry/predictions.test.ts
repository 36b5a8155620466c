/** Tests `tenure predictions` against a real API: lists, one prediction with its explanation, and files that have every prediction once. */
import { DuckDBInstance } from '@duckdb/node-api'
import { createServer, type Server } from 'node:http'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { predictionsGroup } from '../../../../cli/commands/registry/predictions.ts'
import { exitCodes } from '../../../../cli/exit-codes.ts'
import { columnsOfPrediction, writePredictions } from '../../../../cli/export/prediction-file.ts'
import { runCommand } from '../../../support/command-line.ts'
import {
  flightSpec,
  irisRow,
  irisSpec,
  randomLayer,
  seeded,
  type ArtifactSpec,
} from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-predictions-test-'))
const flight = (origin: string, day: string | null = 'workday') => ({
  distance: 300_000,
  hour: 9,
  origin,
  day,
})
let fixture: ServingFixture
let api: TestApi
let server: Server
let url: string
let key: string

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'admin' })
  const routes = [await serve(irisSpec()), await serve(flightSpec())]
  api = await startApi(fixture)
  for (const route of routes) await api.follows(route)
  server = createServer((request, response) => {
    void text(request).then(async (body) => {
      const answer = await api.request(request.method!, request.url!, { key, ...(body !== '' && { body }) })
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' })
      response.end(answer.text)
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
  rmSync(folder, { recursive: true })
})

async function serve(spec: ArtifactSpec) {
  const version = await fixture.register(spec)
  const manifest = JSON.stringify({ output: spec.output, preprocessing: spec.preprocessing })
  await fixture.store.query(sql`update versions set manifest = ${manifest} where version = ${version}`)
  return fixture.route(spec.model, { proven: version })
}
async function asked(spec: ArtifactSpec, row: object) {
  await api.follows(await serve(spec))
  const { predictions } = api.ask(spec.model, { instances: [row] })
  await api.serving.log.flush()
  return predictions[0]!
}

const run = (...words: string[]) => runCommand([predictionsGroup], ['predictions', ...words, '--url', url])
const file = (name: string) => join(folder, name)
async function readFile(name: string): Promise<Record<string, unknown>[]> {
  const duck = await (await DuckDBInstance.create()).connect()
  try {
    await duck.run(`set TimeZone = 'UTC'`)
    const options = name.endsWith('.csv') ? ', all_varchar = true' : ''
    const reader = await duck.runAndReadAll(
      `from ${name.endsWith('.csv') ? 'read_csv' : 'read_parquet'}('${file(name)}'${options})`,
    )
    return reader.getRowObjectsJson()
  } finally {
    duck.closeSync()
  }
}
async function listed(model: string): Promise<Record<string, unknown>[]> {
  const all: object[] = []
  let cursor = ''
  do {
    const { json } = await api.request('GET', `/v1/predictions?model=${model}&limit=1000${cursor}`, { key })
    all.push(...(json['predictions'] as object[]))
    cursor = json['next_cursor'] === undefined ? '' : `&cursor=${String(json['next_cursor'])}`
  } while (cursor !== '')
  return all.map(columnsOfPrediction)
}

describe('tenure predictions', () => {
  it('lists with the filters of the API', async () => {
    api.ask('iris', { instances: [irisRow], routing_key: 'user-1', reference: 'order-1' })
    api.ask('iris', { instances: [irisRow], routing_key: 'user-2' })
    await api.serving.log.flush()
    const { out, code } = await run('iris', '--routing-key', 'user-1', '--model-version', 'iris_v1.0.0')
    expect(code).toBe(exitCodes.done)
    expect(out).toMatch(/iris_v1.0.0 .*user-1 .*order-1 .*label (setosa|versicolor|virginica)/)
    expect(out).not.toContain('user-2')
    expect((await run('list', 'iris', '--arm', 'canary')).out).toContain(
      'No predictions in the last 24 hours',
    )
  })

  it('shows a prediction with its inputs and the reason of its arm, and explains it by its version', async () => {
    const { id } = api.ask('iris', { instances: [irisRow], routing_key: 'shown' }).predictions[0]!
    await api.serving.log.flush()
    const { out } = await run('show', id, '--explain')
    expect(out).toMatch(/why +all requests of generation 1 are of this arm/)
    expect(out).toMatch(/routing key +shown/)
    expect(out).toMatch(/petalLength +1.4\n/)
    expect(out).toMatch(/iris_v1.0.0: \w+: .*golden rows.*\nfeature +value +adds/)
  })

  it('shows a digest as one, and explains no prediction with it', async () => {
    const spec: ArtifactSpec = {
      model: 'noted',
      features: { size: { kind: 'number' }, note: { kind: 'text', log: 'digest' } },
      output: { kind: 'probability', positive: 'yes', threshold: 0.5 },
      preprocessing: [
        { name: 'size', kind: 'number', mean: 0, std: 1, fill: 0 },
        { name: 'note', kind: 'category', vocabulary: [], encoding: 'text' },
      ],
      layers: [randomLayer(1, 1, 'sigmoid', seeded(3))],
      golden: [{ size: 1, note: 'a' }],
    }
    const { id } = await asked(spec, { size: 1, note: 'a secret' })
    const { out } = await run('show', id)
    expect(out).toMatch(/note +logged as a digest: SHA-256 [0-9a-f]{64}, length 8, script Latin\n/)
    expect(out).not.toContain('secret')
    const explained = await run('show', id, '--explain')
    expect(explained.code).not.toBe(exitCodes.done)
    expect(explained.err).toContain('the prediction cannot be explained: `note` is logged as a digest')
    expect(await listed('noted')).toMatchObject([
      { 'inputs.size': 1, 'inputs.note.length': 8, 'inputs.note.sha256': expect.any(String) },
    ])
  })

  it('exports all pages as CSV and Parquet, whose columns are the fields of the API', async () => {
    const hostile = '=1+1,"two"\nlines; µ'
    for (let n = 0; n < 12; n++)
      api.ask('flight', {
        instances: Array.from({ length: 100 }, () => flight(hostile, n % 2 === 0 ? null : 'weekend')),
        routing_key: n === 0 ? hostile : `user-${n}`,
      })
    await api.serving.log.flush()
    for (const name of ['flight.csv', 'flight.parquet']) {
      const { out } = await run('export', 'flight', '--output', file(name))
      expect(out).toContain('1200 predictions of flight')
      expect(statSync(file(name)).mode & 0o777).toBe(0o600)
    }
    const wanted = await listed('flight')
    const csv = await readFile('flight.csv')
    expect(csv).toHaveLength(wanted.length)
    for (const [place, row] of csv.entries())
      for (const [name, cell] of Object.entries(row)) {
        const given = wanted[place]![name]
        const value = given === hostile ? `'${hostile}` : typeof given === 'boolean' ? String(given) : given
        expect(typeof value === 'number' ? Number(cell) : (cell ?? undefined), name).toEqual(value)
      }
    const parquet = await readFile('flight.parquet')
    expect(parquet).toHaveLength(1_200)
    for (const [place, row] of parquet.entries()) {
      const { at, ...rest } = wanted[place]!
      for (const [name, value] of Object.entries(rest))
        expect(typeof value === 'number' ? Number(row[name]) : row[name], name).toEqual(value)
      expect(Date.parse(`${String(row['at']).replace(' ', 'T')}:00`)).toBe(Date.parse(String(at)))
    }
    // A whole number of 64 bits, which JSON has as a text.
    expect(parquet[0]!['inputs.distance']).toBe('300000')
    expect(new Set(Object.keys(parquet[0]!))).toEqual(new Set(Object.keys(csv[0]!)))
    expect(Object.keys(csv[0]!)).toEqual(
      expect.arrayContaining(['inputs.distance', 'inputs.day', 'answer.probability', 'outputs', 'release']),
    )
  })

  it('exports what is stored of a person in every model', async () => {
    api.ask('flight', { instances: [flight('VIE')], routing_key: 'person-7' })
    api.ask('iris', { instances: [irisRow, irisRow], routing_key: 'person-7' })
    await api.serving.log.flush()
    await run('export', '--subject', 'person-7', '--output', file('person.csv'))
    const rows = await readFile('person.csv')
    expect(rows.map(({ model }) => String(model)).toSorted()).toEqual(['flight', 'iris', 'iris'])
    expect(new Set(rows.map((row) => row['routing_key']))).toEqual(new Set(['person-7']))
    await run('export', '--subject', 'nobody', '--output', file('nobody.csv'))
    expect(readFileSync(file('nobody.csv'), 'utf8')).toMatch(/^id,at,model,version,.*\n$/)
  })

  it.each([
    [['export', 'flight'], /--output is missing/],
    [['export', 'flight', '--output', 'rows.xlsx'], /ends in .csv or .parquet, not rows.xlsx/],
    [['export', '--output', 'rows.csv'], /a model or --subject is missing/],
  ])('%j is refused', async (words, detail) => {
    const { err, code } = await run(...words)
    expect(err).toMatch(detail)
    expect(code).toBe(exitCodes.usage)
  })

  it('leaves no file where the model is unknown or a page fails', async () => {
    const before = readdirSync(folder)
    expect((await run('export', 'irsi', '--output', file('none.csv'))).code).not.toBe(exitCodes.done)
    async function* broken() {
      yield [{ id: 'a' }]
      await Promise.resolve()
      throw new Error('the API is away')
    }
    async function* hostile() {
      await Promise.resolve()
      yield [
        {
          id: 'x',
          routing_key: '=HYPERLINK("http://x")',
          reference: '@SUM(1)',
          inputs: { a: '+A1', b: '-1' },
        },
      ]
    }
    await writePredictions(hostile(), { file: file('hostile.csv'), format: '.csv' })
    const cells = readFileSync(file('hostile.csv'), 'utf8').split('\n')[1]!
    expect(cells).toContain(`'=HYPERLINK`)
    expect(cells).toMatch(/'@SUM\(1\).*'\+A1,-1/)
    rmSync(file('hostile.csv'))
    await expect(writePredictions(broken(), { file: file('broken.csv'), format: '.csv' })).rejects.toThrow(
      'the API is away',
    )
    await expect(
      writePredictions(broken(), { file: file('nowhere/x.csv'), format: '.csv' }),
    ).rejects.toThrow()
    expect(readdirSync(folder)).toEqual(before)
  })
})
