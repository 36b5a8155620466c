/**
 * Reads and writes the W3C Trace Context: the headers `traceparent` and `tracestate`, which join the spans of several systems into one
 * trace.
 */

export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string
  /** 16 hexadecimal digits: the calling span. */
  spanId: string
  sampled: boolean
  /** Passed on unchanged. */
  state?: string
}

export const traceparentHeader = 'traceparent' as const
export const tracestateHeader = 'tracestate' as const
/** The environment variable of a child process, as OpenTelemetry names it. */
export const traceparentVariable = 'TRACEPARENT' as const

/** A version above 00 may have more fields, which are ignored. */
const pattern = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
/** A longer or malformed state is left out, as the specification allows. */
const statePattern = /^[\x20-\x7e]{1,512}$/

/** Undefined for a header that does not follow the specification; the trace then begins here. */
export function parseTraceparent(text: string | undefined, state?: string): TraceContext | undefined {
  const found = text === undefined ? null : pattern.exec(text)
  if (found === null) return undefined
  const [whole, traceId = '', spanId = '', flags = '', more] = found
  if (whole.startsWith('00') && more !== undefined) return undefined
  const sampled = (Number.parseInt(flags, 16) & 1) === 1
  const isKept = state !== undefined && statePattern.test(state)
  return { traceId, spanId, sampled, ...(isKept && { state }) }
}

export const traceparentOf = ({ traceId, spanId, sampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`

/** The ids of a workflow chain derive from its first run, so that replays and all workers compute the same ids. */
export const traceIdOfRun = (runId: string): string => runId.replaceAll('-', '').toLowerCase()

/** The span with the index `place` in a run; 0 is the workflow itself. */
export function spanIdOfRun(runId: string, place: number): string {
  const digits = traceIdOfRun(runId).slice(16)
  const low = (Number.parseInt(digits.slice(8), 16) + place) % 2 ** 32
  return digits.slice(0, 8) + low.toString(16).padStart(8, '0')
}
