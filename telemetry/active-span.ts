/** The span that runs in the present chain of calls, for what has no other way to it: statements and calls to Temporal. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { traceparentOf, tracestateHeader, traceparentHeader } from '../domain/tracing/trace-context.ts'
import type { SpanAttributes, SpanPart, TraceSpan } from '../domain/tracing/span.ts'
import { preciseNow, newSpanId, type StartedSpan, type Telemetry } from './telemetry.ts'

interface Active {
  telemetry: Telemetry
  span: StartedSpan
}

const active = new AsyncLocalStorage<Active>()

/** Runs `work` as the span; what it asks for is below it. */
export const runInSpan = <T>(telemetry: Telemetry, span: StartedSpan, work: () => T): T =>
  active.run({ telemetry, span }, work)

/** The headers that hand the trace on; empty where no span runs. */
export function traceHeaders(): Record<string, string> {
  const span = active.getStore()?.span
  if (span === undefined) return {}
  const headers: Record<string, string> = { [traceparentHeader]: traceparentOf(span) }
  if (span.state !== undefined) headers[tracestateHeader] = span.state
  return headers
}

/** Begins a span below the active one, and returns what ends it; nothing where no span runs, or where it has many already. */
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

/** A span of a process that this one has started. */
export interface ProcessSpan {
  /** What the process gets, so that its own spans hang on this one. */
  traceparent: string
  /** A part of its work, as it has reported it. */
  part(part: SpanPart): void
  end(error?: unknown): void
}

/** Begins the span of a child process below the active one; nothing where no span runs. */
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

/** Most parts of one process. */
const maxParts = 64

export const messageOfError = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).slice(0, maxMessage)

const maxMessage = 1_000

const maxStatement = 2_000

/** For the store: each statement within a span is one below it. Values are parameters, and stay out. */
export function watchStatement(text: string): ((error?: unknown) => void) | undefined {
  const [, verb = 'query', subject = ''] =
    /^\s*(\w+)(?:[\s\S]*?\b(?:from|into|update)\s+([\w.]+))?/i.exec(text) ?? []
  return beginChild(`${verb.toLowerCase()} ${subject}`.trim(), {
    'db.system.name': 'postgresql',
    'db.operation.name': verb.toLowerCase(),
    'db.query.text': text.slice(0, maxStatement),
  })?.end
}
