/** Records sampled predictions as spans, with the arm and the version that served them. */
import { traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import type { StartedSpan, Telemetry } from '../../telemetry/telemetry.ts'
import type { ServedBy } from '../serving/request/protocol.ts'
import type { Exemplars } from '../metrics/exemplars.ts'

/** The model and the protocol of a request. */
interface TracedTarget {
  model: string
  protocol: string
}

type TraceHeaders = Readonly<Partial<Record<typeof traceparentHeader | typeof tracestateHeader, string>>>

export interface PredictionSpan extends StartedSpan, ServedBy {
  target: TracedTarget
}

export interface PredictionTracing {
  /** Starts a span; undefined unless the request is sampled. */
  begin(target: TracedTarget, headers: TraceHeaders, waitedMs: number): PredictionSpan | undefined
  end(span: PredictionSpan, status: number, code?: string): void
}

export function createPredictionTracing(
  { begin, record }: Telemetry,
  exemplars: Exemplars,
  now: () => number,
): PredictionTracing {
  return {
    begin(target, headers, waitedMs) {
      const context = begin(headers[traceparentHeader], headers[tracestateHeader])
      return context && { ...context, startMs: context.startMs - waitedMs, target }
    },
    end(span, status, code) {
      const { traceId, spanId, parentId, state, startMs, target, version, arm, release } = span
      const endMs = now()
      const { model, protocol } = target
      const isFault = status >= 500
      record({
        traceId,
        spanId,
        parentId,
        state,
        name: model === '' ? 'predict' : `predict ${model}`,
        kind: 'server',
        startMs,
        endMs,
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
        error: isFault ? (code ?? String(status)) : undefined,
      })
      if (version !== undefined && arm !== undefined)
        exemplars.add(
          { model, version, arm },
          { traceId, spanId, seconds: (endMs - startMs) / 1_000, atMs: endMs },
        )
    },
  }
}
