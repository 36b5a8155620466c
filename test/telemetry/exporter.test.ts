/** Tests what is sent to an OpenTelemetry collector, and the behaviour without one. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Histogram, Registry } from 'prom-client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openMetricsText, readMetrics } from '../../api/metrics/open-metrics.ts'
import { parseTraceparent, spanIdOfRun, traceparentOf } from '../../domain/tracing/trace-context.ts'
import type { PromMetric } from '../../telemetry/otlp.ts'
import { readTelemetry, type TelemetrySettings } from '../../telemetry/settings.ts'
import { newSpanId, openTelemetry, preciseNow, type Telemetry } from '../../telemetry/telemetry.ts'
import { startCollector, type Collector } from '../support/tracing/collector.ts'

let collector: Collector
beforeAll(async () => {
  collector = await startCollector()
})
afterAll(() => collector?.stop())

function settings(more: Record<string, string> = {}): TelemetrySettings {
  const issues: string[] = []
  const read = readTelemetry(
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_BSP_SCHEDULE_DELAY: '10', ...more },
    issues,
  )
  expect(issues).toEqual([])
  return read!
}

const opened = (more: Record<string, string> = {}, errors: unknown[] = []): Telemetry =>
  openTelemetry(settings(more), { kind: 'api', version: '1.2.3', onError: (error) => errors.push(error) })

const spanNamed = (name: string) => ({
  traceId: '0af7651916cd43dd8448eb211c80319c',
  spanId: newSpanId(),
  name,
  kind: 'internal' as const,
  startMs: preciseNow(),
  endMs: preciseNow(),
  attributes: { text: 'a', whole: 3, half: 0.5, yes: true, none: undefined },
})

it('spans, log lines and metrics arrive as OTLP/JSON, with the headers and the resource of the variables', async () => {
  const telemetry = opened({
    OTEL_EXPORTER_OTLP_HEADERS: 'x-token=a%20b',
    OTEL_SERVICE_NAME: 'shop',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  })
  telemetry.record({ ...spanNamed('one'), error: 'it failed' })
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
  await telemetry.stop()
  expect(collector.refused).toEqual([])
  expect(collector.headers).toMatchObject({ 'x-token': 'a b' })
  expect(collector.resource).toMatchObject({
    'service.name': 'shop',
    'service.version': '1.2.3',
    'deployment.environment.name': 'test',
    'tenure.process': 'api',
  })
  const [span] = collector.spans
  expect(span).toMatchObject({ name: 'one', kind: 1, status: { code: 2, message: 'it failed' } })
  expect(span!.attributes).toEqual([
    { key: 'text', value: { stringValue: 'a' } },
    { key: 'whole', value: { intValue: '3' } },
    { key: 'half', value: { doubleValue: 0.5 } },
    { key: 'yes', value: { boolValue: true } },
  ])
  expect(collector.logs[0]).toMatchObject({
    severityText: 'WARN',
    timeUnixNano: '1700000000000000000',
    body: { stringValue: 'slow' },
  })
  expect(collector.metrics).toMatchObject([
    { name: 'a_total', sum: { dataPoints: [{ asDouble: 2 }] } },
    {
      name: 'b_seconds',
      histogram: { dataPoints: [{ count: '4', bucketCounts: ['3', '1'], explicitBounds: [0.1] }] },
    },
  ])
  expect(telemetry.counts).toEqual({
    traces: { sent: 1, dropped: 0 },
    logs: { sent: 1, dropped: 0 },
    metrics: { sent: 2, dropped: 0 },
  })
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

it('a collector that does not answer costs a bounded queue, and each dropped span is counted', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const errors: unknown[] = []
  const telemetry = opened(
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      OTEL_BSP_MAX_QUEUE_SIZE: '10',
      OTEL_BSP_MAX_EXPORT_BATCH_SIZE: '5',
      OTEL_EXPORTER_OTLP_TIMEOUT: '50',
    },
    errors,
  )
  for (let i = 0; i < 1_000; i++) telemetry.record(spanNamed(String(i)))
  // Five are in flight and ten wait.
  expect(telemetry.counts.traces).toEqual({ sent: 0, dropped: 985 })
  await expect.poll(() => telemetry.counts.traces.dropped).toBe(1_000)
  expect(errors.length, 'told once').toBe(1)
  await telemetry.stop()
  silent.closeAllConnections()
  silent.close()
})

it('a request is traced at its share, or as its caller has decided', () => {
  const never = opened({ OTEL_TRACES_SAMPLER_ARG: '0' })
  const sampled = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  expect(never.begin(undefined)).toBeUndefined()
  expect(never.begin(sampled, 'a=b')).toMatchObject({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    parentId: 'b7ad6b7169203331',
    state: 'a=b',
  })
  const always = opened({ OTEL_TRACES_SAMPLER: 'parentbased_always_on' })
  expect(always.begin(sampled.replace(/01$/, '00'))).toBeUndefined()
  expect(always.begin('no header')).not.toHaveProperty('parentId')
  expect(opened({ OTEL_TRACES_SAMPLER: 'always_off' }).begin(sampled)).toBeUndefined()
})

it.each([
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', true],
  ['cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what', true],
  ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what', false],
  ['ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', false],
  ['00-00000000000000000000000000000000-b7ad6b7169203331-01', false],
  ['00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01', false],
  ['00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01', false],
  ['', false],
])('the traceparent %s is accepted or ignored as the specification says', (text, isTaken) => {
  const parsed = parseTraceparent(text)
  expect(parsed !== undefined).toBe(isTaken)
  if (parsed !== undefined) expect(parseTraceparent(traceparentOf(parsed))).toEqual(parsed)
})

it('the span ids of a run are the same at each replay, and differ from each other', () => {
  const run = '019ab3c4-0000-7000-8000-ffffffffffff'
  expect([0, 1, 2].map((place) => spanIdOfRun(run, place))).toEqual([
    '8000ffffffffffff',
    '8000ffff00000000',
    '8000ffff00000001',
  ])
})

it.each([
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    'OTEL_EXPORTER_OTLP_ENDPOINT is an http:// or https:// address',
  ],
  [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, 'OTEL_EXPORTER_OTLP_PROTOCOL is http/json, not "grpc"'],
  [{ OTEL_TRACES_SAMPLER_ARG: '2' }, 'OTEL_TRACES_SAMPLER_ARG is a number from 0 to 1, not "2"'],
  [{ OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER is otlp or none, not "zipkin"'],
  [
    { OTEL_EXPORTER_OTLP_HEADERS: 'secret' },
    'OTEL_EXPORTER_OTLP_HEADERS is a list such as name=value,name=value',
  ],
  [{ OTEL_BSP_MAX_QUEUE_SIZE: '0' }, 'OTEL_BSP_MAX_QUEUE_SIZE is a whole number from 1 to 86400000, not "0"'],
])('the variables %j are refused', (more, issue) => {
  const issues: string[] = []
  readTelemetry(
    {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      ...more,
    },
    issues,
  )
  expect(issues).toEqual([issue])
})

it('nothing is sent without an address, or where it is turned off', () => {
  expect(readTelemetry({}, [])).toBeUndefined()
  const given = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  expect(readTelemetry({ ...given, OTEL_SDK_DISABLED: 'true' }, [])).toBeUndefined()
  expect(readTelemetry({ ...given, OTEL_LOGS_EXPORTER: 'none' }, [])?.urls).toEqual({
    traces: 'http://127.0.0.1:4318/v1/traces',
    metrics: 'http://127.0.0.1:4318/v1/metrics',
  })
})
