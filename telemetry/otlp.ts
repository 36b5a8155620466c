/** Encodes OTLP/JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding. Ids are hexadecimal, 64-bit numbers are strings. */
import { spanKinds, type SpanAttributes, type TraceSpan } from '../domain/tracing/span.ts'

type AnyValue =
  | { stringValue: string }
  | { boolValue: boolean }
  | { intValue: string }
  | { doubleValue: number }

interface KeyValue {
  key: string
  value: AnyValue
}

const scope = { name: 'tenure' }

/** A log line of a process, as pino writes it. */
export interface LogLine {
  line: string
  atMs: number
}

const valueOf = (value: string | number | boolean): AnyValue => {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

const attributesOf = (attributes: SpanAttributes): KeyValue[] =>
  Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: valueOf(value) }],
  )

/** Doubles cannot hold the nanoseconds of a date, so times are rounded to microseconds. */
export const nanosOf = (ms: number): string => `${Math.round(ms * 1_000)}000`

const errorStatus = 2

export function tracesBody(resource: SpanAttributes, spans: readonly TraceSpan[]): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeSpans: [{ scope, spans: spans.map(otlpSpan) }],
      },
    ],
  }
}

function otlpSpan({
  traceId,
  spanId,
  parentId,
  state,
  name,
  kind,
  startMs,
  endMs,
  ...more
}: TraceSpan): object {
  const { attributes, links = [], error } = more
  return {
    traceId,
    spanId,
    ...(parentId !== undefined && { parentSpanId: parentId }),
    ...(state !== undefined && { traceState: state }),
    name,
    kind: spanKinds[kind],
    startTimeUnixNano: nanosOf(startMs),
    endTimeUnixNano: nanosOf(Math.max(startMs, endMs)),
    attributes: attributesOf(attributes),
    ...(links.length > 0 && {
      links: links.map(({ attributes: own = {}, ...link }) => ({ ...link, attributes: attributesOf(own) })),
    }),
    ...(error !== undefined && { status: { code: errorStatus, message: error } }),
  }
}

/** pino's level → OpenTelemetry's severity. */
const severities: Readonly<Record<number, readonly [number, string]>> = {
  10: [1, 'TRACE'],
  20: [5, 'DEBUG'],
  30: [9, 'INFO'],
  40: [13, 'WARN'],
  50: [17, 'ERROR'],
  60: [21, 'FATAL'],
}

export function logsBody(resource: SpanAttributes, lines: readonly LogLine[]): object {
  const logRecords = lines.map(logRecord)
  return {
    resourceLogs: [{ resource: { attributes: attributesOf(resource) }, scopeLogs: [{ scope, logRecords }] }],
  }
}

function logRecord({ line, atMs }: LogLine): object {
  const { level, time, msg, trace_id, span_id, ...fields } = parsed(line)
  const [severityNumber, severityText] = severities[Number(level)] ?? [9, 'INFO']
  const flat = Object.entries(fields).map(([name, value]) => [name, flatOf(value)] as const)
  return {
    timeUnixNano: nanosOf(typeof time === 'number' ? time : atMs),
    observedTimeUnixNano: nanosOf(atMs),
    severityNumber,
    severityText,
    body: { stringValue: typeof msg === 'string' ? msg : line },
    attributes: attributesOf(Object.fromEntries(flat)),
    ...(typeof trace_id === 'string' && { traceId: trace_id, spanId: span_id }),
  }
}

function parsed(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return {}
  }
}

const flatOf = (value: unknown): string | number | boolean | undefined => {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
  return value === undefined || value === null ? undefined : JSON.stringify(value)
}

/** A metric of prom-client. */
export interface PromMetric {
  name: string
  help: string
  type: string
  values: readonly {
    metricName?: string
    labels?: Readonly<Record<string, string | number>>
    value: number
    /** null in prom-client's own histograms. */
    exemplar?: PromExemplar | null | undefined
  }[]
}

export interface PromExemplar {
  labelSet: { trace_id: string; span_id: string }
  value: number
  /** Seconds since 1970. */
  timestamp: number
}

const cumulative = 2

export function metricsBody(
  resource: SpanAttributes,
  metrics: readonly PromMetric[],
  { startMs, atMs }: { startMs: number; atMs: number },
): object {
  const times = { startTimeUnixNano: nanosOf(startMs), timeUnixNano: nanosOf(atMs) }
  return {
    resourceMetrics: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeMetrics: [{ scope, metrics: metrics.flatMap((metric) => otlpMetric(metric, times)) }],
      },
    ],
  }
}

function otlpMetric({ name, help, type, values }: PromMetric, times: object): object[] {
  // A collector cannot aggregate the quantiles of prom-client's summaries.
  if (values.length === 0 || type === 'summary') return []
  const described = { name, description: help }
  if (type === 'histogram') {
    const dataPoints = histogramPoints(name, values).map((point) => ({ ...times, ...point }))
    return [{ ...described, histogram: { aggregationTemporality: cumulative, dataPoints } }]
  }
  const dataPoints = values
    // JSON has no NaN, which is the mean of an empty summary.
    .filter(({ value }) => Number.isFinite(value))
    .map(({ labels = {}, value }) => ({ ...times, attributes: attributesOf(labels), asDouble: value }))
  if (type !== 'counter') return [{ ...described, gauge: { dataPoints } }]
  return [{ ...described, sum: { aggregationTemporality: cumulative, isMonotonic: true, dataPoints } }]
}

/** Converts histogram buckets. Prometheus counts cumulatively up to each bound; OTLP counts between two bounds. */
function histogramPoints(name: string, values: PromMetric['values']): object[] {
  const series = new Map<
    string,
    { labels: SpanAttributes; buckets: [number, number][]; sum: number; exemplars: object[] }
  >()
  for (const { metricName, labels = {}, value, exemplar } of values) {
    const { le, ...own } = labels
    const key = JSON.stringify(own)
    const found = series.get(key) ?? { labels: own, buckets: [], sum: 0, exemplars: [] }
    series.set(key, found)
    if (metricName === `${name}_sum`) found.sum = value
    else if (le !== undefined) found.buckets.push([le === '+Inf' ? Infinity : Number(le), value])
    if (exemplar) found.exemplars.push(otlpExemplar(exemplar))
  }
  return [...series.values()].map(({ labels, buckets, sum, exemplars }) => {
    const sorted = buckets.sort(([one], [other]) => one - other)
    const counts = sorted.map(([, count], place) => count - (sorted[place - 1]?.[1] ?? 0))
    return {
      attributes: attributesOf(labels),
      count: String(sorted.at(-1)?.[1] ?? 0),
      sum,
      bucketCounts: counts.map(String),
      explicitBounds: sorted.map(([bound]) => bound).filter(Number.isFinite),
      exemplars,
    }
  })
}

const otlpExemplar = ({ labelSet, value, timestamp }: PromExemplar): object => ({
  timeUnixNano: nanosOf(timestamp * 1_000),
  asDouble: value,
  traceId: labelSet.trace_id,
  spanId: labelSet.span_id,
})
