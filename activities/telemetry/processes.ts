/** Lets child processes have spans without loading OpenTelemetry where no collector is configured. */
import type { SpanPart } from '../../domain/tracing/span.ts'

/** The span of a child process. */
export interface ProcessSpan {
  /** Passed to the process, so that its spans become children of this span. */
  traceparent: string
  /** Records a part of the work that the process reported. */
  part(part: SpanPart): void
  end(error?: unknown): void
}

let begin: (name: string) => ProcessSpan | undefined = () => undefined

export const traceProcesses = (by: typeof begin): void => void (begin = by)

/** Begins the span of a child process below the active span; undefined without an active span. */
export const beginProcess = (name: string): ProcessSpan | undefined => begin(name)
