/** Receives OTLP/JSON like a collector. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/json in the processes that send to it. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

interface KeyValue {
  key: string
  value: Record<string, unknown>
}

interface Attributed {
  attributes: KeyValue[]
}

export interface OtlpSpan extends Attributed {
  traceId: string
  spanId: string
  parentSpanId?: string
  traceState?: string
  name: string
  kind: number
  links: (Attributed & { traceId: string; spanId: string })[]
  status: { code: number; message?: string }
}

interface OtlpLog extends Attributed {
  severityText: string
  timeUnixNano: string
  body: Record<string, unknown>
}

interface OtlpMetric {
  name: string
  sum?: { dataPoints: { asDouble: number }[] }
  histogram?: { dataPoints: { count: number; bucketCounts: number[]; explicitBounds: number[] }[] }
}

interface Body {
  resourceSpans?: { resource: Attributed; scopeSpans: { spans: OtlpSpan[] }[] }[]
  resourceLogs?: { resource: Attributed; scopeLogs: { logRecords: OtlpLog[] }[] }[]
  resourceMetrics?: { resource: Attributed; scopeMetrics: { metrics: OtlpMetric[] }[] }[]
}

export interface Collector {
  url: string
  /** The variables of a process that sends to it, without delay. */
  environment: Record<string, string>
  spans: OtlpSpan[]
  logs: OtlpLog[]
  /** Those of the last body. */
  metrics: OtlpMetric[]
  /** Resource attributes of the last body. */
  resource: Record<string, unknown>
  /** Headers of the last request. */
  headers: Record<string, unknown>
  stop(): Promise<void>
}

export const attributeOf = ({ attributes }: Attributed, name: string): unknown =>
  Object.values(attributes.find(({ key }) => key === name)?.value ?? {})[0]

export async function startCollector(): Promise<Collector> {
  const collector: Omit<Collector, 'url' | 'environment' | 'stop'> = {
    spans: [],
    logs: [],
    metrics: [],
    resource: {},
    headers: {},
  }
  const take = ({ resourceSpans = [], resourceLogs = [], resourceMetrics = [] }: Body): void => {
    for (const { resource } of [...resourceSpans, ...resourceLogs, ...resourceMetrics])
      collector.resource = Object.fromEntries(
        resource.attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
      )
    for (const { scopeSpans } of resourceSpans)
      collector.spans.push(...scopeSpans.flatMap(({ spans }) => spans))
    for (const { scopeLogs } of resourceLogs)
      collector.logs.push(...scopeLogs.flatMap(({ logRecords }) => logRecords))
    for (const { scopeMetrics } of resourceMetrics)
      collector.metrics.splice(0, Infinity, ...scopeMetrics.flatMap(({ metrics }) => metrics))
  }
  const server = createServer((request, response) => {
    collector.headers = request.headers
    void json(request).then((body) => {
      take(body as Body)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return Object.assign(collector, {
    url,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '20',
      OTEL_BLRP_SCHEDULE_DELAY: '20',
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  })
}
