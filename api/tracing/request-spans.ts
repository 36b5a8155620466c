/** Records requests of routes as spans: every command, and the sampled share of reads. Calls to Temporal continue the trace. */
import type { WorkflowClientInterceptor } from '@temporalio/client'
import { parseTraceparent, traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import { runInSpan, traceHeaders } from '../../telemetry/active-span.ts'
import { newTrace, preciseNow, type StartedSpan, type Telemetry } from '../../telemetry/telemetry.ts'
import type { RouteDefinition } from '../http/route.ts'

export interface TracedRequest {
  method: string
  header(name: string): string | undefined
}

/** Runs a request in a span, unless it is not sampled. */
export async function tracedRequest(
  telemetry: Telemetry,
  { path, roles }: { path: string; roles: RouteDefinition['allow'] },
  { method, header }: TracedRequest,
  work: () => Promise<Response>,
): Promise<Response> {
  const isCommand = method !== 'GET' && method !== 'HEAD' && roles !== 'public'
  const span = isCommand
    ? commandSpan(header)
    : telemetry.begin(header(traceparentHeader), header(tracestateHeader))
  if (span === undefined) return work()
  const { traceId, spanId, parentId, state, startMs } = span
  let status = 500
  let code: string | undefined
  try {
    const answer = await runInSpan(telemetry, span, work)
    status = answer.status
    return answer
  } catch (error) {
    code = (error as { code?: string }).code ?? 'internal'
    throw error
  } finally {
    telemetry.record({
      traceId,
      spanId,
      parentId,
      state,
      name: `${method} ${path}`,
      kind: 'server',
      startMs,
      endMs: preciseNow(),
      attributes: {
        'http.request.method': method,
        'http.route': path,
        'http.response.status_code': code === undefined ? status : undefined,
        'error.type': code,
      },
    })
  }
}

/**
 * Starts the span of a command. Commands are rare and change production, so they are traced at any sampling rate, unless the caller has
 * decided against it.
 */
function commandSpan(header: TracedRequest['header']): StartedSpan | undefined {
  const parent = parseTraceparent(header(traceparentHeader), header(tracestateHeader))
  return parent?.sampled === false ? undefined : newTrace(parent)
}

/** The header that Temporal's own OpenTelemetry interceptors use. */
const temporalHeader = '_tracer-data'

/** Adds the request's trace to calls to workflows. */
export function temporalTracing(): WorkflowClientInterceptor {
  const withTrace = <T extends { headers: object }>(input: T): T => {
    const carried = traceHeaders()
    if (Object.keys(carried).length === 0) return input
    const payload = {
      metadata: { encoding: Buffer.from('json/plain') },
      data: Buffer.from(JSON.stringify(carried)),
    }
    return { ...input, headers: { ...input.headers, [temporalHeader]: payload } }
  }
  return {
    start: (input, next) => next(withTrace(input)),
    startWithDetails: (input, next) => next(withTrace(input)),
    signal: (input, next) => next(withTrace(input)),
    signalWithStart: (input, next) => next(withTrace(input)),
    startUpdate: (input, next) => next(withTrace(input)),
  }
}
