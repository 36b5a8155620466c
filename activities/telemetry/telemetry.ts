/**
 * Starts the OpenTelemetry SDK of this process, which sends spans, log lines and metrics to the collector. Loaded only where a collector is
 * configured, because the SDK costs 40 MB. Requests are sampled before the SDK is asked: its sampler alone costs a tenth of a prediction.
 */
import {
  context,
  createTraceState,
  diag,
  DiagLogLevel,
  logs,
  metrics,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type AnyValue,
  type Context,
  type Span,
  type Tracer,
} from '@opentelemetry/api'
import { getNumberFromEnv, getStringFromEnv, setGlobalErrorHandler } from '@opentelemetry/core'
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { NodeSDK } from '@opentelemetry/sdk-node'
import { AlwaysOnSampler, ParentBasedSampler, RandomIdGenerator } from '@opentelemetry/sdk-trace'
import { setTimeout as pause } from 'node:timers/promises'
import type { TraceSpan } from '../../domain/tracing/span.ts'
import { parseTraceparent, type TraceContext } from '../../domain/tracing/trace-context.ts'
import { producerOf, type PromMetric } from './prom-metrics.ts'
import type { TelemetrySettings } from './settings.ts'

export interface Telemetry {
  readonly tracer: Tracer
  /** Returns the context in which a request's span begins; undefined if the request is not sampled. */
  sample(traceparent: string | undefined, tracestate?: string): Context | undefined
  /** Records a span that has its ids already, such as one of a workflow. */
  record(span: TraceSpan): void
  /** Records a line of pino. */
  log(line: string): void
  /** Sends the metrics periodically. */
  follow(read: () => Promise<readonly PromMetric[]>): void
  stop(): Promise<void>
}

export interface ProcessFacts {
  /** `api`, `control` or `train`. */
  kind: string
  version: string
  /** Receives what the SDK complains about, at most once a minute, because the log line about it is sent to the collector as well. */
  onError(error: unknown): void
}

/** How long the last batches may take while the process stops. The SDK itself retries for ten seconds. */
const stopMs = 2_000
const complaintMs = 60_000

/** Returns ms since 1970, with a finer resolution than Date.now(). */
export const preciseNow = (): number => performance.timeOrigin + performance.now()

/** Returns the context of a caller; a new trace begins without one. */
export function contextBelow(parent: TraceContext | undefined): Context {
  if (parent === undefined) return ROOT_CONTEXT
  const { traceId, spanId, state } = parent
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    isRemote: true,
    // Sampled here, whatever the caller has decided.
    traceFlags: TraceFlags.SAMPLED,
    ...(state !== undefined && { traceState: createTraceState(state) }),
  })
}

/** Ends a span, with the error that has failed it. */
export function endSpan(span: Span, error?: unknown, endMs?: number): void {
  if (error !== undefined)
    span.setStatus({
      code: SpanStatusCode.ERROR,
      message: (error instanceof Error ? error.message : String(error)).slice(0, maxMessage),
    })
  span.end(endMs)
}

const maxMessage = 1_000

/** Starts the SDK, which registers itself in the process until it is stopped. */
export async function openTelemetry(
  { ratio, followsParent }: TelemetrySettings,
  { kind, version, onError }: ProcessFacts,
): Promise<Telemetry> {
  let reportedMs = -Infinity
  let isStarted = false
  const complain = (error: unknown): void => {
    const nowMs = performance.now()
    if (isStarted && nowMs - reportedMs < complaintMs) return
    reportedMs = nowMs
    onError(error)
  }
  const silent = () => {}
  const say = (...words: unknown[]) => complain(words.map(String).join(' '))
  diag.setLogger(
    { error: say, warn: say, info: silent, debug: silent, verbose: silent },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  setGlobalErrorHandler(complain)

  let read: () => Promise<readonly PromMetric[]> = () => Promise.resolve([])
  const ids = createIds()
  const sdk = new NodeSDK({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.name': 'tenure',
        'service.version': version,
        'tenure.process': kind,
      }),
    ),
    sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
    idGenerator: ids,
    ...(await readersOf(() => read())),
  })
  sdk.start()
  isStarted = true
  const tracer = trace.getTracer('tenure')
  const logger = logs.getLogger('tenure')
  return {
    tracer,
    sample(traceparent, tracestate) {
      // Most callers send no header; they cost only one random number.
      const parent = traceparent === undefined ? undefined : parseTraceparent(traceparent, tracestate)
      const isSampled = parent !== undefined && followsParent ? parent.sampled : Math.random() < ratio
      return isSampled ? contextBelow(parent) : undefined
    },
    record({ traceId, spanId, parentId, state, name, startMs, endMs, error, ...more }) {
      const parent = parentId === undefined ? undefined : { traceId, spanId: parentId, sampled: true }
      ids.next = { traceId, spanId }
      const span = tracer.startSpan(
        name,
        {
          startTime: startMs,
          attributes: more.attributes,
          links: (more.links ?? []).map(({ attributes, ...link }) => ({
            context: { ...link, traceFlags: TraceFlags.SAMPLED },
            ...(attributes && { attributes }),
          })),
        },
        contextBelow(parent && (state === undefined ? parent : { ...parent, state })),
      )
      ids.next = undefined
      endSpan(span, error, Math.max(startMs, endMs))
    },
    log(line) {
      const nowMs = Date.now()
      const { level, time = nowMs, msg = line, ...attributes } = parsed(line)
      const [severityNumber, severityText] = severities[Number(level)] ?? [9, 'INFO']
      logger.emit({
        timestamp: Number(time),
        observedTimestamp: nowMs,
        severityNumber,
        severityText,
        body: msg,
        attributes,
      })
    },
    follow(next) {
      read = next
    },
    async stop() {
      await Promise.race([sdk.shutdown().catch(complain), pause(stopMs, undefined, { ref: false })])
      for (const part of [trace, logs, metrics, context, propagation, diag]) part.disable()
    },
  }
}

/** Replaces the SDK's reader by one that also reads the metrics of prom-client, unless another exporter is chosen. */
async function readersOf(read: () => Promise<readonly PromMetric[]>) {
  if ((getStringFromEnv('OTEL_METRICS_EXPORTER') ?? 'otlp') !== 'otlp') return {}
  const protocol =
    getStringFromEnv('OTEL_EXPORTER_OTLP_METRICS_PROTOCOL') ?? getStringFromEnv('OTEL_EXPORTER_OTLP_PROTOCOL')
  const { OTLPMetricExporter } =
    protocol === 'grpc'
      ? await import('@opentelemetry/exporter-metrics-otlp-grpc')
      : protocol === 'http/json'
        ? await import('@opentelemetry/exporter-metrics-otlp-http')
        : await import('@opentelemetry/exporter-metrics-otlp-proto')
  const exportIntervalMillis = getNumberFromEnv('OTEL_METRIC_EXPORT_INTERVAL') ?? 60_000
  const timeoutMs = getNumberFromEnv('OTEL_METRIC_EXPORT_TIMEOUT') ?? 30_000
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis,
    exportTimeoutMillis: Math.min(timeoutMs, exportIntervalMillis),
    metricProducers: [producerOf(read)],
  })
  return { metricReaders: [reader] }
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

/** Generates random ids, except for a span that has its ids already. */
function createIds() {
  const random = new RandomIdGenerator()
  const ids = {
    next: undefined as { traceId: string; spanId: string } | undefined,
    generateTraceId: () => ids.next?.traceId ?? random.generateTraceId(),
    generateSpanId: () => ids.next?.spanId ?? random.generateSpanId(),
  }
  return ids
}

function parsed(line: string): Record<string, AnyValue> {
  try {
    return JSON.parse(line) as Record<string, AnyValue>
  } catch {
    return {}
  }
}
