/**
 * Tests the queries to metric sources and their reader. Prometheus is a server that answers in its documented format; the SQL source is a
 * real database.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  askSource,
  externalReader,
  type ExternalReader,
} from '../../../../activities/release/evidence/external-metrics.ts'
import type { ExternalFigures } from '../../../../domain/canary/external/external-metric.ts'
import type { ExternalMetric } from '../../../../domain/canary/external/external-policy.ts'
import type { CountedTick } from '../../../../domain/release/evidence-builder.ts'
import { openingState, type ReleaseState } from '../../../../domain/release/state.ts'
import { alphaFor } from '../../../../domain/canary/alpha-split.ts'
import {
  askPostgres,
  readMetricSources,
  type MetricSource,
} from '../../../../store/integrations/metric-sources.ts'
import type { Store } from '../../../../store/postgres.ts'
import { listReadings } from '../../../../store/release/evidence.ts'
import { insertRelease } from '../../../../store/release/releases.ts'
import { readConfig } from '../../../../temporal.config.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { releaseFacts } from '../../../support/release/releases.ts'
import {
  freshDatabase,
  migratedDatabase,
  openPatientStore,
  uniqueName,
} from '../../../support/servers/servers.ts'
import { until } from '../../../support/serving/serving-fixture.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-sources-'))
const file = join(folder, 'metric-sources.json')
const token = 'secret-of-the-source'
let store: Store
let config: ReturnType<typeof readConfig>
let shop: string
let base: string
let answer: (request: IncomingMessage, body: string) => { status?: number; text: string } | 'silence'
const asked: URLSearchParams[] = []
const web = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString()))
  request.on('end', () => {
    asked.push(new URL(request.url!, 'http://source').searchParams)
    const said = answer(request, body)
    if (said === 'silence') return response.destroy()
    response.writeHead(said.status ?? 200, { 'content-type': 'application/json' }).end(said.text)
  })
})

beforeAll(async () => {
  const databaseUrl = await migratedDatabase()
  store = openPatientStore(databaseUrl)
  config = readConfig({ DATABASE_URL: databaseUrl, TENURE_METRIC_SOURCES: file })
  shop = await freshDatabase()
  const sales = openPatientStore(shop)
  await sales.query(sql`create table ratings (version text, at timestamptz, stars int)`)
  await sales.query(
    sql`insert into ratings select 'm_v1.1.0', to_timestamp(i), 3 from generate_series(60, 119) i`,
  )
  await sales.close()
  await new Promise<void>((done) => web.listen(0, '127.0.0.1', done))
  base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`
})
afterAll(async () => {
  await store?.close()
  web.closeAllConnections()
  web.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => void asked.splice(0))

const window = { model: 'm', version: 'm_v1.1.0', arm: 'canary', fromMs: 60_000, toMs: 120_000 } as const
const vector = (...values: string[]) => ({
  text: JSON.stringify({
    status: 'success',
    data: { resultType: 'vector', result: values.map((value) => ({ metric: {}, value: [120, value] })) },
  }),
})
const sources = (): Record<string, MetricSource> => ({
  prometheus: { kind: 'promql', url: base, token },
  hook: { kind: 'webhook', url: `${base}/quality`, token },
  shop: { kind: 'sql', url: shop },
})
const promql = {
  kind: 'promql',
  source: 'prometheus',
  query: 'rate(x{v="$version",a="$arm",m="$model"}[$window])',
}
const ask = (metric: object = promql) =>
  askSource(sources(), metric as Pick<ExternalMetric, 'kind' | 'source' | 'query'>, window)

describe('Prometheus', () => {
  it('is queried at the end of the window, with the placeholders filled in and with its key', async () => {
    let key: string | undefined
    answer = ({ headers }) => {
      key = headers.authorization
      return vector('0.25')
    }
    expect(await ask()).toBe(0.25)
    expect(asked[0]!.get('query')).toBe('rate(x{v="m_v1.1.0",a="canary",m="m"}[60s])')
    expect(asked[0]!.get('time')).toBe('120')
    expect(key).toBe(`Bearer ${token}`)
    answer = () => ({ text: '{"status":"success","data":{"resultType":"scalar","result":[120,"3"]}}' })
    expect(await ask()).toBe(3)
  })

  it.each<[string, ReturnType<typeof answer>, string]>([
    ['NaN', vector('NaN'), 'the answer is NaN, not a finite number'],
    ['infinity', vector('+Inf'), 'the answer is Infinity'],
    ['no series', vector(), 'the query selects 0 series, and exactly one is needed'],
    ['several series', vector('1', '2'), 'the query selects 2 series'],
    ['a range', { text: '{"data":{"resultType":"matrix","result":[]}}' }, 'neither a vector nor a scalar'],
    ['no JSON', { text: '<html>' }, 'the answer is no object of JSON'],
    [
      'a part',
      { text: vector('0.25').text.replace('{', '{"isPartial":true,') },
      'the answer is partial (isPartial: true)',
    ],
    [
      'a broken sample',
      { text: '{"data":{"resultType":"scalar","result":[1]}}' },
      'the answer has no sample',
    ],
    ['an error', { status: 422, text: `{"error":"bad ${token}"}` }, 'the system responded 422'],
    ['a closed connection', 'silence', 'fetch failed'],
  ])('that answers %s has no value', async (_, said, issue) => {
    answer = () => said
    const error = await ask().catch((thrown: Error) => thrown)
    expect(String(error)).toContain(issue)
    expect(String(error)).not.toContain(token)
  })

  it.each([
    ['an escape', 'p%40ss-word', 'p@ss-word'],
    ['a bare percent sign', '100%-secret', '100%-secret'],
  ])('gets a password with %s of its address, which no error shows', async (_what, written, password) => {
    const source: MetricSource = { kind: 'promql', url: base.replace('//', `//prom:${written}@`) }
    let pair: string | undefined
    answer = ({ headers }) => {
      pair = Buffer.from(headers.authorization!.slice('Basic '.length), 'base64').toString()
      return { status: 401, text: `{"error":"wrong: ${password}"}` }
    }
    await expect(
      askSource({ [promql.source]: source }, { ...promql, kind: 'promql' }, window),
    ).rejects.toThrow(/responded 401$/)
    expect(pair).toBe(`prom:${password}`)
  })
})

describe('another Postgres', () => {
  const stars = `select avg(stars) from ratings where version = $version and at >= $from and at < $to;`
  const rating = { kind: 'sql', source: 'shop', query: stars }
  it('answers the query with the words as parameters', async () => {
    expect(await ask(rating)).toBe(3)
    expect(await ask({ ...rating, query: `with few as (select 4 as n) select n from few` })).toBe(4)
  })

  it.each([
    [
      'null',
      `select avg(stars) from ratings where version = $arm`,
      'the query returns null: no rows in the window',
    ],
    ['no row', `select 1 where $arm = 'x'`, 'the query returns no row'],
    ['several rows', 'select stars from ratings', 'the query returns several rows'],
    ['a text', `select 'many'`, 'invalid input syntax'],
    ['NaN', `select 'NaN'::float8`, 'not a finite number'],
    ['a write', 'delete from ratings returning 1', 'in a read-only transaction'],
    [
      'a second statement',
      'select 1) select value from answer; commit; drop table ratings; --',
      'cannot insert multiple commands',
    ],
  ])('that answers with %s has no value', async (_, query, issue) => {
    await expect(ask({ ...rating, query })).rejects.toThrow(issue)
  })

  it('is given up in time', async () => {
    const slow = { strings: ['select 1 from pg_sleep(30)'], values: [] }
    await expect(askPostgres(shop, slow, 300)).rejects.toThrow(/timeout|did not answer/)
  })
})

describe('a webhook', () => {
  const hook = { kind: 'webhook', source: 'hook', query: 'fraud' }
  it('gets the window and returns a value', async () => {
    answer = (_, body) => {
      const { metric, from, to, arm } = JSON.parse(body) as Record<string, string>
      return { text: JSON.stringify({ value: `${metric} ${arm} ${from} ${to}`.length }) }
    }
    const said = 'fraud canary 1970-01-01T00:01:00.000Z 1970-01-01T00:02:00.000Z'
    expect(await ask(hook)).toBe(said.length)
    answer = () => ({ text: '{"value":"3"}' })
    await expect(ask(hook)).rejects.toThrow('the answer has no number as its value')
  })
})

describe('the file of metric sources', () => {
  it('is checked, and a metric names a source of its kind', async () => {
    const issueOf = (text: string) => {
      writeFileSync(file, text)
      return readMetricSources(file).then(
        () => '',
        (error: Error) => error.message,
      )
    }
    expect(await readMetricSources(join(folder, 'absent.json'))).toEqual({})
    expect(await issueOf(`{ "shop": "${token}`)).toMatch(/is not valid JSON/)
    expect(await issueOf(`{ "shop": "${token}`)).not.toContain(token)
    expect(await issueOf('{"shop": {"kind": "sql", "url": "http://x"}}')).toContain('shop.url')
    expect(await issueOf('{"shop": {"kind": "ftp"}}')).toContain('shop.kind')
    await expect(ask({ ...promql, source: 'elsewhere' })).rejects.toThrow('names no elsewhere')
    await expect(ask({ ...promql, source: 'shop' })).rejects.toThrow('of the kind sql, not promql')
  })
})

describe('the reader', () => {
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const everyMs = 1_000
  const complaints: ExternalMetric = {
    kind: 'promql',
    source: 'prometheus',
    query: '$version',
    tolerance: 0,
    min: 0,
    max: 1,
    lowerIsBetter: true,
    everyMs,
    delayMs: 0,
    minRequests: 5,
    action: 'rollback',
    onError: 'ask',
  }
  const startMs = Math.floor(Date.now() / everyMs) * everyMs - 10 * everyMs

  async function inCanary(change: Partial<ExternalMetric> = {}): Promise<ReleaseState> {
    const model = uniqueName('model')
    const { policy } = releaseFacts
    const limits = {
      ...policy.limits,
      alpha: alphaFor({ business: false, external: true }),
      external: { complaints: { ...complaints, ...change } },
    }
    const registry = await insertModel(store, { model, policy, artifactRoot: folder })
    const [baseline, version] = [await registry.register(), await registry.register()]
    const facts = { ...releaseFacts, id: `rel_${model}` as const, model, version, baseline }
    const state = { ...openingState(facts, 0), policy: { ...policy, limits } }
    await insertRelease(store, { state, workflowId: `release/${model}`, runId: 'run' })
    const routing = { stageIndex: 0, shareBp: 5_000, generation: 1, startedMs: startMs }
    return { ...state, routings: [{ ...routing, stage: 'canary' }] }
  }
  /** Inserts requests of both arms in the first windows; in the third the canary is idle. */
  const counted = ({ version, baseline }: ReleaseState): CountedTick[] =>
    Array.from({ length: 5 }, (_, i) => startMs + i * everyMs).flatMap((tickMs, i) =>
      [version, baseline!].map((by) => ({
        version: by,
        generation: 1,
        tickMs,
        lengthMs: everyMs,
        requests: i === 2 && by === version ? 1 : 10,
        errors: 0,
        invalid: 0,
        slow95: 0,
        slow99: 0,
      })),
    )

  async function seen(
    read: ExternalReader,
    state: ReleaseState,
    windows: number,
    ticks = counted(state),
  ): Promise<ExternalFigures> {
    let found: ExternalFigures | undefined
    await until(
      async () => (found = (await read(ticks))['complaints'])?.windows === windows,
      'the windows have a value',
    )
    return found!
  }

  it('asks for each window once, leaves out idle ones, and another watcher continues', async () => {
    writeFileSync(file, JSON.stringify(sources()))
    const state = await inCanary()
    answer = ({ url }) =>
      vector(new URL(url!, base).searchParams.get('query') === state.version ? '0.8' : '0.1')
    const read = externalReader({ store, config, log }, state)!
    const evidence = await seen(read, state, 4)
    expect(evidence).toMatchObject({ windows: 4, failed: 0, unread: 0 })
    expect(evidence.means!.canary).toBeCloseTo(0.8)
    expect(asked).toHaveLength(8)
    expect((await listReadings(store, state.id)).map(({ fromMs }) => (fromMs - startMs) / everyMs)).toEqual([
      0, 1, 3, 4,
    ])
    // Another value of the source does not change values that were read.
    answer = () => vector('0')
    const other = externalReader({ store, config, log }, state)!
    expect(await other(counted(state))).toEqual({ complaints: evidence })
    expect(asked).toHaveLength(8)
  })

  it('asks when a window is complete at the source, and both arms had enough requests beside targeted callers', async () => {
    writeFileSync(file, JSON.stringify(sources()))
    answer = () => vector('0.5')
    const late = await inCanary({ delayMs: 3_600_000 })
    const readLate = externalReader({ store, config, log }, late)!
    await readLate(counted(late))
    const state = await inCanary()
    const ticks = counted(state).map((tick): CountedTick => {
      const window = (tick.tickMs - startMs) / everyMs
      if (window === 0 && tick.version === state.baseline) return { ...tick, requests: 4 }
      return window === 1 && tick.version === state.version ? { ...tick, arm: 'targeted' } : tick
    })
    const read = externalReader({ store, config, log }, state)!
    await seen(read, state, 2, ticks)
    expect((await listReadings(store, state.id)).map(({ fromMs }) => (fromMs - startMs) / everyMs)).toEqual([
      3, 4,
    ])
    expect((await readLate(counted(late)))['complaints']).toMatchObject({ windows: 0, failed: 0, unread: 0 })
    expect(await listReadings(store, late.id)).toEqual([])
  })

  it('asks for a window whose last counters arrive after its end', async () => {
    writeFileSync(file, JSON.stringify(sources()))
    answer = () => vector('0.5')
    const state = await inCanary()
    const read = externalReader({ store, config, log }, state)!
    const [first, second] = counted(state)
    expect((await read([{ ...first!, requests: 4 }, second!]))['complaints']).toMatchObject({ windows: 0 })
    await seen(read, state, 4)
    expect((await listReadings(store, state.id))[0]?.fromMs).toBe(startMs)
  })

  it('stores an outage as a window without a value, and asks the source again in the next', async () => {
    writeFileSync(file, JSON.stringify(sources()))
    const state = await inCanary()
    let times = 0
    answer = () => (times++ < 4 ? 'silence' : vector('0.1'))
    const read = externalReader({ store, config, log }, state)!
    expect(await seen(read, state, 2)).toMatchObject({ failed: 0, worseLogE: expect.any(Number) as number })
    expect((await listReadings(store, state.id)).map(({ problem }) => problem ?? '')).toEqual([
      expect.stringContaining('fetch failed'),
      expect.stringContaining('fetch failed'),
      '',
      '',
    ])
    expect(externalReader({ store, config, log }, { ...state, routings: [] })).toBeUndefined()
  })
})
