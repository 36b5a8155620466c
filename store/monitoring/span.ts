/** Spans of time of a model and of a version, as monitoring reads and judges them. */

export interface Span {
  model: string
  /** Milliseconds since 1970. */
  fromMs: number
  toMs: number
}

export interface VersionSpan extends Span {
  version: string
}

export const iso = (ms: number): string => new Date(ms).toISOString()
