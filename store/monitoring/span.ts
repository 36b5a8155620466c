/** Defines periods of a model and of a version, which monitoring reads and judges. */

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
