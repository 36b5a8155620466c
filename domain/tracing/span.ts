/** Defines the finished span of a workflow, whose ids and times come from its history. */
import type { TraceContext } from './trace-context.ts'

export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>

/** A part of the work of a process, as the process reports it. */
export interface SpanPart {
  name: string
  /** Milliseconds since 1970, with fractions. */
  startMs: number
  endMs: number
  error?: string | undefined
}

export interface TraceSpan {
  traceId: string
  spanId: string
  parentId?: string | undefined
  state?: string | undefined
  name: string
  /** Milliseconds since 1970, with fractions. */
  startMs: number
  endMs: number
  attributes: SpanAttributes
  /** Spans of other traces, or of this one, that caused it. */
  links?: readonly (Pick<TraceContext, 'traceId' | 'spanId'> & { attributes?: SpanAttributes })[]
  /** The error message of a failed span. */
  error?: string | undefined
}
