/** Receives OTLP/JSON like a collector and refuses bodies that violate opentelemetry-proto 1.5. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { z } from 'zod'

const nanos = z.string().regex(/^\d{19}$/)
const traceId = z.string().regex(/^(?!0{32})[0-9a-f]{32}$/)
const spanId = z.string().regex(/^(?!0{16})[0-9a-f]{16}$/)
const anyValue = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
  z.strictObject({ doubleValue: z.number() }),
])
const attributes = z.array(z.strictObject({ key: z.string().min(1), value: anyValue }))
const resource = z.strictObject({ attributes })
const scope = z.strictObject({ name: z.string(), version: z.string().optional() })
const link = z.strictObject({
  traceId,
  spanId,
  traceState: z.string().optional(),
  attributes: attributes.optional(),
})
const span = z.strictObject({
  traceId,
  spanId,
  parentSpanId: spanId.optional(),
  traceState: z.string().optional(),
  name: z.string().min(1),
  kind: z.number().int().min(1).max(5),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  links: z.array(link).optional(),
  status: z.strictObject({ code: z.number().int().min(0).max(2), message: z.string().optional() }).optional(),
})
const logRecord = z.strictObject({
  timeUnixNano: nanos,
  observedTimeUnixNano: nanos,
  severityNumber: z.number().int().min(1).max(24),
  severityText: z.string(),
  body: anyValue,
  attributes,
  traceId: traceId.optional(),
  spanId: spanId.optional(),
})
const times = { startTimeUnixNano: nanos, timeUnixNano: nanos }
const point = z.strictObject({ ...times, attributes, asDouble: z.number() })
const count = z.string().regex(/^\d+$/)
const histogramPoint = z
  .strictObject({
    ...times,
    attributes,
    count,
    sum: z.number(),
    bucketCounts: z.array(count),
    explicitBounds: z.array(z.number()),
    exemplars: z.array(z.strictObject({ timeUnixNano: nanos, asDouble: z.number(), traceId, spanId })),
  })
  .refine(
    ({ bucketCounts, explicitBounds }) => bucketCounts.length === explicitBounds.length + 1,
    'one bucket more than bounds',
  )
  .refine(
    ({ bucketCounts, count: all }) =>
      bucketCounts.reduce((sum, each) => sum + Number(each), 0) === Number(all),
    'the buckets make up the count',
  )
const described = { name: z.string().min(1), description: z.string() }
const metric = z.union([
  z.strictObject({ ...described, gauge: z.strictObject({ dataPoints: z.array(point) }) }),
  z.strictObject({
    ...described,
    sum: z.strictObject({
      aggregationTemporality: z.literal(2),
      isMonotonic: z.literal(true),
      dataPoints: z.array(point),
    }),
  }),
  z.strictObject({
    ...described,
    histogram: z.strictObject({ aggregationTemporality: z.literal(2), dataPoints: z.array(histogramPoint) }),
  }),
])
const bodies = {
  '/v1/traces': z.strictObject({
    resourceSpans: z.array(
      z.strictObject({ resource, scopeSpans: z.array(z.strictObject({ scope, spans: z.array(span) })) }),
    ),
  }),
  '/v1/logs': z.strictObject({
    resourceLogs: z.array(
      z.strictObject({
        resource,
        scopeLogs: z.array(z.strictObject({ scope, logRecords: z.array(logRecord) })),
      }),
    ),
  }),
  '/v1/metrics': z.strictObject({
    resourceMetrics: z.array(
      z.strictObject({
        resource,
        scopeMetrics: z.array(z.strictObject({ scope, metrics: z.array(metric) })),
      }),
    ),
  }),
}

export type OtlpSpan = z.infer<typeof span>
export type OtlpMetric = z.infer<typeof metric>
export type OtlpLog = z.infer<typeof logRecord>

export interface Collector {
  url: string
  spans: OtlpSpan[]
  logs: OtlpLog[]
  metrics: OtlpMetric[]
  /** Resource attributes of the last body. */
  resource: Record<string, unknown>
  /** Why bodies were refused. */
  refused: string[]
  /** Headers of the last request. */
  headers: Record<string, unknown>
  stop(): Promise<void>
}

export const attributeOf = (
  { attributes: all }: { attributes: z.infer<typeof attributes> },
  name: string,
): unknown => Object.values(all.find(({ key }) => key === name)?.value ?? {})[0]

export async function startCollector(): Promise<Collector> {
  const collector: Omit<Collector, 'url' | 'stop'> = {
    spans: [],
    logs: [],
    metrics: [],
    resource: {},
    refused: [],
    headers: {},
  }
  const take = (path: string, body: unknown): void => {
    if (path === '/v1/traces') {
      const [{ resource: from, scopeSpans }] = bodies[path].parse(body).resourceSpans as [never]
      note(from)
      collector.spans.push(...(scopeSpans as { spans: OtlpSpan[] }[]).flatMap(({ spans }) => spans))
    } else if (path === '/v1/logs') {
      const [{ resource: from, scopeLogs }] = bodies[path].parse(body).resourceLogs as [never]
      note(from)
      collector.logs.push(
        ...(scopeLogs as { logRecords: OtlpLog[] }[]).flatMap(({ logRecords }) => logRecords),
      )
    } else if (path === '/v1/metrics') {
      const [{ resource: from, scopeMetrics }] = bodies[path].parse(body).resourceMetrics as [never]
      note(from)
      collector.metrics.splice(
        0,
        Infinity,
        ...(scopeMetrics as { metrics: OtlpMetric[] }[]).flatMap(({ metrics }) => metrics),
      )
    } else throw new Error(`no such path: ${path}`)
  }
  const note = ({ attributes: all }: z.infer<typeof resource>): void => {
    collector.resource = Object.fromEntries(all.map(({ key, value }) => [key, Object.values(value)[0]]))
  }
  const server = createServer((request, response) => {
    void json(request)
      .then((body) => {
        collector.headers = request.headers
        if (request.method !== 'POST' || request.headers['content-type'] !== 'application/json')
          throw new Error('not a POST of application/json')
        take(request.url ?? '', body)
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
      })
      .catch((error: Error) => {
        collector.refused.push(error.message)
        response.writeHead(400).end('{"code": 3}')
      })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(collector, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  })
}
