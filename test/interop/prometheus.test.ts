/** Tests that external metrics, and the requests of the versions behind a gateway, are read from a real server of Prometheus. */
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { askSource } from '../../activities/release/evidence/external-metrics.ts'
import { openRequestCounts } from '../../store/gateways/request-counts.ts'
import { startPrometheus } from '../support/servers/prometheus.ts'
import { prometheusOrReason } from './packages.ts'

const prometheus = await prometheusOrReason()
/** Of four payments, version 1.1.0 refuses one. */
let payments = 0
const shop = createServer((_, response) => {
  payments += 4
  response.end(
    `# TYPE payments_total counter
payments_total{model_version="m_v1.0.0"} ${payments}
payments_total{model_version="m_v1.1.0"} ${payments}
# TYPE payments_refused_total counter
payments_refused_total{model_version="m_v1.1.0"} ${payments / 4}
# TYPE requests_total counter
requests_total{service="m-v1-0-0",code="200"} ${3 * payments}
requests_total{service="m-v1-0-0",code="500"} ${payments}
requests_total{service="m-v1-1-0",code="200"} ${3 * payments}
requests_total{service="m-v1-1-0",code="500"} ${payments}
`,
  )
})

describe.skipIf('reason' in prometheus)('an external metric of a server of Prometheus', () => {
  let server: Awaited<ReturnType<typeof startPrometheus>>
  beforeAll(async () => {
    if ('reason' in prometheus) return
    shop.listen(0, '127.0.0.1')
    await once(shop, 'listening')
    server = await startPrometheus(prometheus.program, [`127.0.0.1:${(shop.address() as AddressInfo).port}`])
  })
  afterAll(async () => {
    await server?.stop()
    shop.closeAllConnections()
    shop.close()
  })
  const ask = (query: string, version = 'm_v1.1.0') =>
    askSource(
      { prometheus: { kind: 'promql', url: server.address } },
      { kind: 'promql', source: 'prometheus', query },
      { model: 'm', version, arm: 'canary', fromMs: Date.now() - 60_000, toMs: Date.now() },
    ).catch((error: Error) => error.message)
  const share =
    'sum(increase(payments_refused_total{model_version="$version"}[$window])) / sum(increase(payments_total{model_version="$version"}[$window]))'

  it('is the value of its query at the end of the window', async () => {
    await expect.poll(() => ask(share)).toBe(0.25)
    expect(await ask('scalar(vector(3))')).toBe(3)
  })

  it.each([
    ['a version without a series', share, 'the query selects 0 series'],
    ['several series', 'payments_total', 'the query selects 2 series'],
    ['a division by zero', 'vector(0) / 0', 'the answer is NaN'],
    ['a query that is none', 'sum(', 'the system responded 400'],
  ])('has no value for %s', async (_, query, issue) => {
    await expect.poll(() => ask('sum(payments_total)')).toBeTypeOf('number')
    expect(await ask(query, 'm_v1.0.0')).toContain(issue)
  })

  it.each([
    ['that differ by their Service only', 'requests_total{service="$service"}', 1],
    ['that are the same for both', 'requests_total{service!="$version"}', 2],
  ])(
    'has counters of two versions %s, which stay apart and are those of one scrape',
    async (_, requests, scale) => {
      const folder = mkdtempSync(join(tmpdir(), 'tenure-counts-'))
      onTestFinished(() => rmSync(folder, { recursive: true }))
      const metricSources = join(folder, 'metric-sources.json')
      writeFileSync(metricSources, JSON.stringify({ prometheus: { kind: 'promql', url: server.address } }))
      const startedMs = performance.now()
      const counts = openRequestCounts(
        { source: 'prometheus', requests, status: 'code', settleMs: 20_000 },
        // Many questions for each scrape.
        { metricSources, now: () => 100 * (performance.now() - startedMs) },
      )
      const [champion, candidate] = ['m_v1.0.0', 'm_v1.1.0']
      const look = () => {
        const { [champion!]: one, [candidate!]: other } = counts.of(
          { [champion!]: 50, [candidate!]: 50 },
          {
            words: {
              [champion!]: { service: 'm-v1-0-0', version: champion! },
              [candidate!]: { service: 'm-v1-1-0', version: candidate! },
            },
            isInForce: true,
          },
        )
        expect(other).toEqual(one)
        return one!
      }
      // Each scrape adds four payments.
      await expect.poll(() => look().requests, { interval: 5 }).toBeGreaterThan(4 * 16 * scale)
      expect(look().failures).toBe(look().requests / 4)
      expect(look().requests % (16 * scale)).toBe(0)
    },
  )
})
