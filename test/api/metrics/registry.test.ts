/** Tests that `/metrics` has exactly the metrics of the table, with a bounded number of series. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { metricsPage, metricTable } from '../../../api/metrics/metric-catalogue.ts'
import { createMetrics } from '../../../api/metrics/registry.ts'
import { checkout } from '../../../temporal.config.ts'
import { issuesOfMetrics } from '../../support/metrics/promlint.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

/** Names and texts that could break a line of the format or exhaust the memory of a scraper. */
const hostile = 'a"} 1\ntenure_lease_seconds 99\\'

let fixture: ServingFixture
let api: TestApi
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  for (const model of ['iris', hostile])
    await fixture.route(model, { proven: await fixture.register(irisSpec(model)) })
  key = await fixture.key()
  api = await startApi(fixture)
  for (const model of ['iris', hostile])
    await until(() => api.serving.routing.find(model) !== undefined, api.troubles.join())
  await until(() => api.serving.lease.until > 0, 'the lease')
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

const text = async (): Promise<string> => (await api.request('GET', '/metrics', { key })).text
const lines = async (name: string): Promise<string[]> =>
  (await text()).split('\n').filter((line) => new RegExp(`^${name}[{ ]`).test(line))

describe('the metrics', () => {
  it('match the table, with their labels and their types', async () => {
    api.ask('iris', request())
    const shown = await text()
    for (const [name, { type, labels, help }] of Object.entries(metricTable)) {
      expect(shown).toContain(`# TYPE ${name} ${type}\n`)
      expect(shown).toContain(`# HELP ${name} ${help}\n`)
      for (const line of await lines(`${name}(_bucket)?`)) {
        const named = [...line.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)].map(([, label]) => label)
        expect(named.filter((label) => label !== 'le')).toEqual([...labels])
      }
    }
    const named = [...shown.matchAll(/^# TYPE (tenure_\w+)/gm)].map(([, name = '']) => name)
    expect(named.sort()).toEqual(Object.keys(metricTable).sort())
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_p99_seconds'])
      expect(shown).toMatch(new RegExp(`^${name} [\\d.e-]+$`, 'm'))
  })

  it('are named as Prometheus requires', async () => {
    api.ask('iris', request())
    const shown = await text()
    expect(shown.match(/^# TYPE /gm)!.length).toBeGreaterThan(50)
    expect(issuesOfMetrics(shown)).toEqual([])
  })

  it('count requests by their declared route and status, with their durations', async () => {
    const ask = (method: string, path: string) => api.request(method, path, { key })
    const count = async (labels: string) => {
      const line = (await lines('tenure_http_requests_total')).find((each) => each.includes(labels))
      return Number(line?.split(' ').at(-1) ?? 0)
    }
    const found = 'method="GET",route="/v1/models",status="200"'
    const missing = 'method="GET",route="other",status="404"'
    const before = [await count(found), await count(missing)]
    await ask('GET', '/v1/models')
    await ask('GET', `/v1/${'a'.repeat(40)}`)
    await ask('GET', `/v1/${'b'.repeat(40)}`)
    expect([await count(found), await count(missing)]).toEqual([before[0]! + 1, before[1]! + 2])
    expect(await text()).not.toContain('aaaa')
    const [sum] = (await lines('tenure_http_request_seconds_sum')).filter((line) => line.includes(found))
    expect(Number(sum?.split(' ').at(-1))).toBeGreaterThan(0)
    const shown = await createMetrics(api.serving, new Map(), {
      build: { version: '1.2.3', buildId: 'abc' },
    }).metrics()
    expect(shown).toContain('tenure_build_info{version="1.2.3",build="abc"} 1')
  })

  it('count responses in buckets that add up', async () => {
    for (let i = 0; i < 5; i++) api.ask('iris', request())
    const [count = ''] = (await lines('tenure_prediction_seconds_count')).filter((line) =>
      line.includes('"iris"'),
    )
    const buckets = (await lines('tenure_prediction_seconds_bucket')).filter((line) =>
      line.includes('"iris"'),
    )
    const values = buckets.map((line) => Number(line.split(' ').at(-1)))
    expect(values).toEqual([...values].sort((a, b) => a - b))
    expect(values.at(-1)).toBe(Number(count.split(' ').at(-1)))
    expect(values.at(-1)).toBeGreaterThanOrEqual(5)
    // On a busy machine the last poll of the replica may be older.
    await expect
      .poll(() => lines('tenure_routing_age_seconds'))
      .toEqual([expect.stringMatching(/ \d(\.\d+)?$/)])
    expect(await lines('tenure_breaker_open')).toContain('tenure_breaker_open{model="iris"} 0')
    await expect
      .poll(() => lines('tenure_prediction_log_spool_bytes'))
      .toEqual(['tenure_prediction_log_spool_bytes 0'])
  })

  it('are not corrupted by a model name with markup', async () => {
    api.ask(hostile, request())
    expect(await lines('tenure_lease_seconds')).toHaveLength(1)
    for (const line of (await text()).split('\n'))
      expect(line).toMatch(
        /^$|^# (HELP|TYPE) |^\w+(\{(\w+="([^"\\\n]|\\.)*",?)*\})? (-?[\d.]+(e[+-]?\d+)?|Nan|\+Inf)$/,
      )
    expect(await text()).toContain('model="a\\"} 1\\ntenure_lease_seconds 99\\\\"')
  })

  it('keep their number of series for any number of versions, keys and problems', async () => {
    await api.request('POST', '/v1/models/0/predict', { key, body: request('caller') })
    // Those of Node come and go with what the process does.
    const series = async () =>
      (await text())
        .split('\n')
        .filter((line) => line.startsWith('tenure_'))
        .map((line) => line.replace(/ [^ ]+$/, ''))
    const before = await series()
    for (let i = 0; i < 50; i++) {
      await api.request('POST', `/v1/models/${i}/predict`, { key, body: request(`caller ${i}`) })
      api.ask('iris', request(`caller ${i}`))
    }
    expect(await series()).toEqual(before)
    const latency = new Uint32Array(224)
    latency[3] = 1
    const arms = Array.from({ length: 1_000 }, (_, i) => ({
      model: 'm',
      version: `m_v1.${i}.0`,
      arm: 'champion' as const,
      answered: 1,
      errors: 2,
      invalid: 0,
      latency,
      latencyUs: 3,
    }))
    const { serving } = api
    const many = createMetrics(
      { ...serving, counters: { ...serving.counters, totals: () => arms } },
      new Map(),
    )
    const shown = await many.metrics()
    expect(shown.match(/^tenure_predictions_total\{/gm)).toHaveLength(303)
    expect(shown).toContain('{model="other",version="other",arm="champion",result="error"} 1800')
    expect(shown).toContain(
      'tenure_prediction_seconds_count{model="other",version="other",arm="champion"} 900',
    )
    expect(shown).toContain('version="m_v1.999.0"')
  })

  it('are documented as in the table', () => {
    const page = join(checkout, 'docs', 'reference', 'metrics.md')
    expect(readFileSync(page, 'utf8')).toContain(metricsPage())
  })
})
