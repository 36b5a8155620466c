/**
 * Records spans, log lines and metrics of a process and sends them as OTLP/JSON. Uses its own encoder, because the OpenTelemetry SDK adds
 * half a second to each start and 37 MB.
 */
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import type { SpanAttributes, TraceSpan } from '../domain/tracing/span.ts'
import { parseTraceparent, type TraceContext } from '../domain/tracing/trace-context.ts'
import { createExporter, noCounts, postSignal, type CountsOfSignals } from './exporter.ts'
import { logsBody, metricsBody, tracesBody, type LogLine, type PromMetric } from './otlp.ts'
import type { TelemetrySettings } from './settings.ts'

export interface Telemetry {
  readonly settings: TelemetrySettings
  readonly counts: CountsOfSignals
  /** Records a finished span. */
  record(span: TraceSpan): void
  /** Records a log line. */
  log(line: string): void
  /** Begins a span below the caller's span or as the root of a new trace; undefined if it is not sampled. */
  begin(traceparent: string | undefined, tracestate?: string): StartedSpan | undefined
  /** Sends the metrics periodically. */
  follow(read: () => Promise<readonly PromMetric[]>): void
  stop(): Promise<void>
}

export interface StartedSpan extends TraceContext {
  parentId?: string | undefined
  startMs: number
  /** How many more statement spans this span may get, so that a span of weeks stays bounded. */
  left: number
}

/** The maximum number of statement spans below one span. */
const maxStatements = 64

export interface ProcessFacts {
  /** `api`, `control` or `train`. */
  kind: string
  version: string
  onError(error: unknown): void
}

/** Returns ms since 1970, with a finer resolution than Date.now(). */
export const preciseNow = (): number => performance.timeOrigin + performance.now()

/** Returns 16 random hexadecimal digits. Math.random suffices, because an id need not be secret, and crypto costs a system call. */
export function newSpanId(): string {
  const half = () => Math.floor(Math.random() * 2 ** 32)
  return `${(half() || 1).toString(16).padStart(8, '0')}${half().toString(16).padStart(8, '0')}`
}

/** Creates a span below the caller's span, or the root span of a new trace. */
export function newTrace(parent: TraceContext | undefined): StartedSpan {
  const span = { spanId: newSpanId(), sampled: true, startMs: preciseNow(), left: maxStatements }
  if (parent === undefined) return { ...span, traceId: randomBytes(16).toString('hex') }
  const { traceId, spanId: parentId, state } = parent
  return state === undefined ? { ...span, traceId, parentId } : { ...span, traceId, parentId, state }
}

export function openTelemetry(
  settings: TelemetrySettings,
  { kind, version, onError }: ProcessFacts,
): Telemetry {
  const resource: SpanAttributes = {
    'service.version': version,
    'service.instance.id': `${hostname()}/${process.pid}`,
    'process.pid': process.pid,
    'host.name': hostname(),
    'tenure.process': kind,
    ...settings.resource,
  }
  const { ratio, followsParent, urls } = settings
  const counts = noCounts()
  const shared = { settings, onError }
  const spans = createExporter<TraceSpan>({
    ...shared,
    signal: 'traces',
    counts: counts.traces,
    encode: (batch) => tracesBody(resource, batch),
  })
  const lines = createExporter<LogLine>({
    ...shared,
    signal: 'logs',
    counts: counts.logs,
    encode: (batch) => logsBody(resource, batch),
  })
  const startMs = Date.now()
  let timer: NodeJS.Timeout | undefined
  let readMetrics: (() => Promise<readonly PromMetric[]>) | undefined
  const sendMetrics = async (): Promise<void> => {
    if (readMetrics === undefined) return
    const metrics = await readMetrics()
    try {
      await postSignal(settings, 'metrics', metricsBody(resource, metrics, { startMs, atMs: Date.now() }))
      counts.metrics.sent += metrics.length
    } catch (error) {
      counts.metrics.dropped += metrics.length
      onError(error)
    }
  }
  return {
    settings,
    counts,
    record(span) {
      if (urls.traces !== undefined) spans.add(span)
    },
    log(line) {
      if (urls.logs !== undefined) lines.add({ line, atMs: Date.now() })
    },
    begin(traceparent, tracestate) {
      // Most callers send no header; they cost only one random number.
      const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent, tracestate)
      const isSampled = parent !== undefined && followsParent ? parent.sampled : Math.random() < ratio
      if (!isSampled || urls.traces === undefined) return undefined
      return newTrace(parent)
    },
    follow(read) {
      if (urls.metrics === undefined) return
      readMetrics = read
      timer = setInterval(() => void sendMetrics(), settings.metricsMs)
      timer.unref()
    },
    async stop() {
      clearInterval(timer)
      await Promise.all([spans.stop(), lines.stop(), sendMetrics()])
    },
  }
}
