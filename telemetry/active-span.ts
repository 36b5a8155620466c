/**
 * Tracks the active span of the current async call chain, for SQL statements and calls to Temporal, which do not receive it as a parameter.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { traceparentOf, tracestateHeader, traceparentHeader } from '../domain/tracing/trace-context.ts'
import type { SpanAttributes, SpanPart, TraceSpan } from '../domain/tracing/span.ts'
import { preciseNow, newSpanId, type StartedSpan, type Telemetry } from './telemetry.ts'

interface Active {
  telemetry: Telemetry
  span: StartedSpan
}

const active = new AsyncLocalStorage<Active>()

/** Runs `work` with this span as the active one; spans begun in `work` become its children. */
export const runInSpan = <T>(telemetry: Telemetry, span: StartedSpan, work: () => T): T =>
  active.run({ telemetry, span }, work)

/** Returns the headers that propagate the trace; empty without an active span. */
export function traceHeaders(): Record<string, string> {
  const span = active.getStore()?.span
  if (span === undefined) return {}
  const headers: Record<string, string> = { [traceparentHeader]: traceparentOf(span) }
  if (span.state !== undefined) headers[tracestateHeader] = span.state
  return headers
}

/**
 * Begins a child of the active span. Returns its context and the function that ends it; undefined without an active span or at the limit of
 * children.
 */
function beginChild(
  name: string,
  attributes: SpanAttributes,
): { context: StartedSpan; end(error?: unknown): void } | undefined {
  const found = active.getStore()
  if (found === undefined || found.span.left <= 0) return undefined
  const { telemetry, span: parent } = found
  parent.left--
  const { traceId, state } = parent
  const context: StartedSpan = {
    ...parent,
    spanId: newSpanId(),
    parentId: parent.spanId,
    startMs: preciseNow(),
  }
  return {
    context,
    end: (error) =>
      telemetry.record({
        traceId,
        state,
        spanId: context.spanId,
        parentId: parent.spanId,
        name,
        kind: 'client',
        startMs: context.startMs,
        endMs: preciseNow(),
        attributes,
        error: error === undefined ? undefined : messageOfError(error),
      }),
  }
}

/** The span of a child process. */
export interface ProcessSpan {
  /** Passed to the process, so that its spans become children of this span. */
  traceparent: string
  /** Records a part of the work that the process reported. */
  part(part: SpanPart): void
  end(error?: unknown): void
}

/** Begins the span of a child process below the active span; undefined without an active span. */
export function beginProcess(name: string): ProcessSpan | undefined {
  const found = active.getStore()
  if (found === undefined) return undefined
  const { telemetry, span: parent } = found
  const { traceId, state } = parent
  const spanId = newSpanId()
  const startMs = preciseNow()
  const record = (of: Pick<TraceSpan, 'spanId' | 'parentId' | 'name' | 'startMs' | 'endMs' | 'error'>) =>
    telemetry.record({ ...of, traceId, state, kind: 'internal', attributes: {} })
  let left = maxParts
  return {
    traceparent: traceparentOf({ traceId, spanId, sampled: true }),
    part(part) {
      if (left-- > 0)
        record({ ...part, error: part.error?.slice(0, maxMessage), spanId: newSpanId(), parentId: spanId })
    },
    end: (error) =>
      record({
        spanId,
        parentId: parent.spanId,
        name,
        startMs,
        endMs: preciseNow(),
        error: error === undefined ? undefined : messageOfError(error),
      }),
  }
}

/** The maximum number of parts of one process. */
const maxParts = 64

export const messageOfError = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, maxMessage)

const maxMessage = 1_000

const maxStatement = 2_000

/** Begins a child span for an SQL statement. Parameter values are not recorded. */
export function watchStatement(text: string): ((error?: unknown) => void) | undefined {
  const [, verb = 'query', subject = ''] =
    /^\s*(\w+)(?:[\s\S]*?\b(?:from|into|update)\s+([\w.]+))?/i.exec(text) ?? []
  return beginChild(`${verb.toLowerCase()} ${subject}`.trim(), {
    'db.system.name': 'postgresql',
    'db.operation.name': verb.toLowerCase(),
    'db.query.text': text.slice(0, maxStatement),
  })?.end
}
