/** Tests what the SDK sends to a collector for a process, and the sampling before it. */
import { Histogram, Registry } from 'prom-client'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { openMetricsText, readMetrics } from '../../../api/metrics/open-metrics.ts'
import type { PromMetric } from '../../../activities/telemetry/prom-metrics.ts'
import { readTelemetry } from '../../../activities/telemetry/settings.ts'
import { openTelemetry, preciseNow, type Telemetry } from '../../../activities/telemetry/telemetry.ts'
import { startCollector, type Collector } from '../../support/tracing/collector.ts'

let collector: Collector
let telemetry: Telemetry
const complaints: unknown[] = []
const traceId = '0af7651916cd43dd8448eb211c80319c'

beforeAll(async () => {
  collector = await startCollector()
  const environment = {
    ...collector.environment,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-token=a%20b',
    OTEL_SERVICE_NAME: 'shop',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    OTEL_TRACES_SAMPLER_ARG: '0',
    // Also how long an export may take.
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
  }
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value)
  telemetry = await openTelemetry(readTelemetry(environment, [])!, {
    kind: 'api',
    version: '1.2.3',
    onError: (error) => complaints.push(error),
  })
})
afterAll(() => collector?.stop())

it('spans with ids of their own, log lines and metrics of prom-client arrive, with the resource of the process', async () => {
  const nowMs = preciseNow()
  telemetry.record({
    traceId,
    spanId: 'b7ad6b7169203331',
    name: 'one',
    startMs: nowMs,
    endMs: nowMs,
    attributes: { text: 'a', whole: 3, half: 0.5, yes: true, none: undefined },
    links: [{ traceId, spanId: 'c7ad6b7169203331', attributes: { 'tenure.command': 'approve' } }],
    error: 'it failed',
  })
  telemetry.log('{"level":40,"time":1700000000000,"msg":"slow","model":"iris","list":[1]}\n')
  telemetry.follow(() =>
    Promise.resolve<PromMetric[]>([
      { name: 'a_total', help: 'A', type: 'counter', values: [{ labels: { of: 'x' }, value: 2 }] },
      {
        name: 'b_seconds',
        help: 'B',
        type: 'histogram',
        values: [
          { metricName: 'b_seconds_bucket', labels: { le: '0.1', of: 'x' }, value: 3, exemplar: null },
          { metricName: 'b_seconds_bucket', labels: { le: '+Inf', of: 'x' }, value: 4 },
          { metricName: 'b_seconds_sum', labels: { of: 'x' }, value: 0.7 },
          { metricName: 'b_seconds_count', labels: { of: 'x' }, value: 4 },
        ],
      },
    ]),
  )
  const { spans, logs, metrics } = collector
  await expect.poll(() => [spans, logs, metrics].map(({ length }) => length)).toEqual([1, 1, 2])
  expect(collector.headers).toMatchObject({ 'x-token': 'a b' })
  expect(collector.resource).toMatchObject({
    'service.name': 'shop',
    'service.version': '1.2.3',
    'deployment.environment.name': 'test',
    'tenure.process': 'api',
  })
  expect(spans).toMatchObject([
    {
      traceId,
      spanId: 'b7ad6b7169203331',
      name: 'one',
      kind: 1,
      attributes: [
        { key: 'text', value: { stringValue: 'a' } },
        { key: 'whole', value: { intValue: 3 } },
        { key: 'half', value: { doubleValue: 0.5 } },
        { key: 'yes', value: { boolValue: true } },
      ],
      status: { code: 2, message: 'it failed' },
      links: [{ traceId, spanId: 'c7ad6b7169203331' }],
    },
  ])
  expect(spans[0]!.parentSpanId).toBeUndefined()
  expect(logs).toMatchObject([
    { severityText: 'WARN', timeUnixNano: '1700000000000000000', body: { stringValue: 'slow' } },
  ])
  expect(metrics).toMatchObject([
    { name: 'a_total', sum: { dataPoints: [{ asDouble: 2 }] } },
    {
      name: 'b_seconds',
      histogram: { dataPoints: [{ count: 4, sum: 0.7, bucketCounts: [3, 1], explicitBounds: [0.1] }] },
    },
  ])
})

it('a request is traced at its share, or as its caller has decided', () => {
  const sampled = `00-${traceId}-b7ad6b7169203331-01`
  const { sample, tracer } = telemetry
  expect(sample(undefined)).toBeUndefined()
  expect(sample('no header')).toBeUndefined()
  expect(sample(sampled.replace(/01$/, '00'))).toBeUndefined()
  const context = tracer.startSpan('below', {}, sample(sampled, 'a=b')).spanContext()
  expect(context).toMatchObject({ traceId, traceFlags: 1 })
  expect(context.traceState?.serialize()).toBe('a=b')
})

it('a collector that has gone away is reported once, and stopping does not wait for it', async () => {
  await collector.stop()
  for (let count = 0; count < 3; count++) {
    telemetry.tracer.startSpan('lost').end()
    telemetry.log('{"level":30,"msg":"lost"}\n')
  }
  await expect.poll(() => complaints.map(String)).toEqual([expect.stringMatching(/export/)])
  telemetry.tracer.startSpan('lost').end()
  await telemetry.stop()
  expect(complaints).toHaveLength(1)
})

it('a histogram of the process, which has no exemplar, is written in the format OpenMetrics', async () => {
  const registry = new Registry()
  new Histogram({ name: 'pause_seconds', help: 'A', buckets: [0.1], registers: [registry] }).observe(0.05)
  expect(openMetricsText(await readMetrics(registry))).toBe(
    [
      '# TYPE pause_seconds histogram',
      '# HELP pause_seconds A',
      'pause_seconds_bucket{le="0.1"} 1',
      'pause_seconds_bucket{le="+Inf"} 1',
      'pause_seconds_sum 0.05',
      'pause_seconds_count 1',
      '# EOF\n',
    ].join('\n'),
  )
})

it.each([
  [
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '0.2' },
    { ratio: 0.2, followsParent: false },
  ],
  [{ OTEL_TRACES_SAMPLER: 'parentbased_always_on' }, { ratio: 1, followsParent: true }],
  [{}, { ratio: 0.01, followsParent: true }],
])('the sampler %j is read as %j', (more, wanted) => {
  expect(readTelemetry({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://a', ...more }, [])).toEqual(wanted)
})

it.each([
  [{ OTEL_TRACES_SAMPLER_ARG: '2' }, 'OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not "2"'],
  [{ OTEL_TRACES_SAMPLER: 'half' }, /^OTEL_TRACES_SAMPLER is one of always_on, .*, not "half"$/],
])('the variables %j are refused', (more, issue) => {
  const issues: string[] = []
  readTelemetry({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318', ...more }, issues)
  expect(issues).toEqual([expect.stringMatching(issue)])
})

it('nothing is loaded without an address, or where it is turned off', () => {
  expect(readTelemetry({}, [])).toBeUndefined()
  const given = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  expect(readTelemetry({ ...given, OTEL_SDK_DISABLED: 'true' }, [])).toBeUndefined()
})
