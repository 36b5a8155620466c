/** Records sampled predictions as spans, with the arm and the version that served them. */
import { SpanKind, type Context } from '@opentelemetry/api'
import { traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import { endSpan, type Telemetry } from '../../activities/telemetry/telemetry.ts'
import type { ServedBy } from '../serving/request/protocol.ts'
import type { Exemplars } from '../metrics/exemplars.ts'

/** The model and the protocol of a request. */
interface TracedTarget {
  model: string
  protocol: string
}

type TraceHeaders = Readonly<Partial<Record<typeof traceparentHeader | typeof tracestateHeader, string>>>

export interface PredictionSpan extends ServedBy {
  target: TracedTarget
  parent: Context
  startMs: number
}

export interface PredictionTracing {
  /** Starts a span; undefined unless the request is sampled. */
  begin(target: TracedTarget, headers: TraceHeaders, waitedMs: number): PredictionSpan | undefined
  end(span: PredictionSpan, status: number, code?: string): void
}

export function createPredictionTracing(
  { sample, tracer }: Pick<Telemetry, 'sample' | 'tracer'>,
  exemplars: Exemplars,
  now: () => number,
): PredictionTracing {
  return {
    begin(target, headers, waitedMs) {
      const parent = sample(headers[traceparentHeader], headers[tracestateHeader])
      return parent && { target, parent, startMs: now() - waitedMs }
    },
    end({ target: { model, protocol }, parent, startMs, version, arm, release }, status, code) {
      const endMs = now()
      const span = tracer.startSpan(
        model === '' ? 'predict' : `predict ${model}`,
        {
          kind: SpanKind.SERVER,
          startTime: startMs,
          attributes: {
            'http.request.method': 'POST',
            'http.response.status_code': status,
            'tenure.protocol': protocol,
            'tenure.model': model,
            'tenure.version': version,
            'tenure.arm': arm,
            'tenure.release': release,
            'error.type': code,
          },
        },
        parent,
      )
      const isSent = span.isRecording()
      endSpan(span, status >= 500 ? (code ?? status) : undefined, endMs)
      if (version === undefined || arm === undefined || !isSent) return
      const { traceId, spanId } = span.spanContext()
      exemplars.add(
        { model, version, arm },
        { traceId, spanId, seconds: (endMs - startMs) / 1_000, atMs: endMs },
      )
    },
  }
}
