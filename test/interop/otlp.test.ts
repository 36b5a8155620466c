/**
 * Tests that the messages of opentelemetry-proto, installed from PyPI, parse what a replica sends: `npm run test:interop`. Skipped without
 * a network.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { checkout } from '../../temporal.config.ts'
import { startApiProcess, type ApiProcess } from '../support/serving/api-process.ts'
import { irisRow, irisSpec } from '../support/serving/artifact.ts'
import { openServingFixture, type ServingFixture } from '../support/serving/serving-fixture.ts'
import { keyPlacesOf } from '../support/serving/sign-versions.ts'
import { pythonOrReason } from './packages.ts'

type Entry = Record<string, unknown>
const found = await pythonOrReason('otlp/requirements.txt')
const skipped = 'reason' in found ? ` (skipped: ${found.reason})` : ''
const received: { path: string; entries?: Entry[]; refused?: string }[] = []
const entriesOf = (signal: string): Entry[] =>
  received.filter(({ path }) => path === `/v1/${signal}`).flatMap(({ entries = [] }) => entries)
let receiver: ChildProcess | undefined
let fixture: ServingFixture
let replica: ApiProcess

beforeAll(async () => {
  if ('reason' in found) return
  receiver = spawn(found.python, [join(checkout, 'test/interop/otlp/receiver.py')], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<string>((resolve) => {
    const lines = createInterface({ input: receiver!.stdout! })
    lines.once('line', (first) => {
      resolve(first)
      lines.on('line', (line) => received.push(JSON.parse(line) as (typeof received)[number]))
    })
  })
  fixture = await openServingFixture()
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  replica = await startApiProcess({
    DATABASE_URL: fixture.databaseUrl,
    TENURE_STATE: fixture.directory(),
    TENURE_ARTIFACTS: fixture.artifactRoot,
    TENURE_KEYS: keyPlacesOf(fixture.artifactRoot).keys,
    TENURE_PUBLIC_PREDICTIONS: 'on',
    LOG_LEVEL: 'info',
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_BSP_SCHEDULE_DELAY: '50',
    OTEL_METRIC_EXPORT_INTERVAL: '200',
  })
})
afterAll(async () => {
  await replica?.end('SIGTERM')
  receiver?.kill()
  await fixture?.close()
})

it.skipIf('reason' in found)(
  `opentelemetry-proto reads the traces, metrics and logs of a replica without an unknown field${skipped}`,
  async () => {
    const traceId = '0af7651916cd43dd8448eb211c80319c'
    const response = await fetch(`${replica.url}/v1/models/iris/predict`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        traceparent: `00-${traceId}-b7ad6b7169203331-01`,
        tracestate: 'vendor=x',
      },
      body: JSON.stringify({ instances: [irisRow] }),
    })
    expect(response.status).toBe(200)
    await expect.poll(() => entriesOf('traces').map(({ name }) => name)).toContain('predict iris')
    expect(entriesOf('traces').find(({ name }) => name === 'predict iris')).toMatchObject({
      traceId,
      parentSpanId: 'b7ad6b7169203331',
      state: 'vendor=x',
      kind: 2,
      service: 'tenure',
      attributes: { 'tenure.arm': 'champion' },
    })
    const latencies = () => entriesOf('metrics').filter(({ name }) => name === 'tenure_prediction_seconds')
    await expect.poll(() => latencies().flatMap(({ exemplars }) => exemplars)).toContain(traceId)
    expect(latencies().at(-1)).toMatchObject({ kind: 'histogram' })
    await expect.poll(() => entriesOf('logs').map(({ body }) => body)).toContain('listening')
    expect(received.filter(({ refused }) => refused !== undefined)).toEqual([])
  },
)
