/** Records requests of routes as spans: every command, and the sampled share of reads. Calls to Temporal continue the trace. */
import { context, ROOT_CONTEXT, SpanKind, trace } from '@opentelemetry/api'
import { suppressTracing } from '@opentelemetry/core'
import { parseTraceparent, traceparentHeader, tracestateHeader } from '../../domain/tracing/trace-context.ts'
import { contextBelow, type Telemetry } from '../../activities/telemetry/telemetry.ts'
import type { RouteDefinition } from '../http/route.ts'

export interface TracedRequest {
  method: string
  header(name: string): string | undefined
}

/** Calls to Temporal in a request that is not sampled have no spans either. */
const untraced = suppressTracing(ROOT_CONTEXT)

/** Runs a request in a span, unless it is not sampled. */
export async function tracedRequest(
  { tracer, sample }: Telemetry,
  { path, roles }: { path: string; roles: RouteDefinition['allow'] },
  { method, header }: TracedRequest,
  work: () => Promise<Response>,
): Promise<Response> {
  const isCommand = method !== 'GET' && method !== 'HEAD' && roles !== 'public'
  const parent = isCommand
    ? commandContext(header)
    : sample(header(traceparentHeader), header(tracestateHeader))
  if (parent === undefined) return context.with(untraced, work)
  const attributes = { 'http.request.method': method, 'http.route': path }
  const span = tracer.startSpan(`${method} ${path}`, { kind: SpanKind.SERVER, attributes }, parent)
  try {
    const answer = await context.with(trace.setSpan(parent, span), work)
    span.setAttribute('http.response.status_code', answer.status)
    return answer
  } catch (error) {
    span.setAttribute('error.type', (error as { code?: string }).code ?? 'internal')
    throw error
  } finally {
    span.end()
  }
}

/**
 * Returns the context of a command. Commands are rare and change production, so they are traced at any sampling rate, unless the caller has
 * decided against it.
 */
function commandContext(header: TracedRequest['header']) {
  const parent = parseTraceparent(header(traceparentHeader), header(tracestateHeader))
  return parent?.sampled === false ? undefined : contextBelow(parent)
}
