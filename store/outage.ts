/**
 * Tracks what Postgres could not do in the last moments. Replicas serve without a database and a full disk still allows reads, so an
 * outage is invisible to requests and must be reported here.
 */

export interface Outage {
  /** Its disk is full: it reads, and writes nothing. Otherwise it does not answer. */
  kind: 'full' | 'away'
  /** In its own words, or those of the driver. */
  why: string
  /** Since when, without a pause that is longer than `quietMs`. */
  forMs: number
}

/** After so long without a failure it is over. Every process asks for something each few seconds, so an outage shows again and again. */
const quietMs = 5_000

export function createOutageTracker(now: () => number = () => performance.now()) {
  let last: { kind: Outage['kind']; why: string; firstMs: number; atMs: number } | undefined
  return {
    saw(error: Error): void {
      const atMs = now()
      const goesOn = last !== undefined && atMs - last.atMs <= quietMs
      last = {
        kind: isFull(error) ? 'full' : 'away',
        why: error.message,
        firstMs: goesOn ? last!.firstMs : atMs,
        atMs,
      }
    },
    /** Undefined without an outage. */
    outage(): Outage | undefined {
      if (last === undefined || now() - last.atMs > quietMs) return undefined
      return { kind: last.kind, why: last.why, forMs: Math.round(now() - last.firstMs) }
    },
  }
}

/** SQLSTATE disk_full, or what the system, DuckDB and SQLite report; a client of Temporal has it in the cause alone. */
export const isFull = (error: unknown): boolean =>
  error instanceof Error &&
  (['53100', 'ENOSPC', 'EDQUOT'].includes(String((error as { code?: unknown }).code)) ||
    /No space left on device|database or disk is full/.test(error.message) ||
    isFull(error.cause))

/** Whether a deadline has passed: the server may be there and slow. A refusal is an answer. */
export const isTimeout = (error: unknown): boolean => error instanceof Error && /timeout/i.test(error.message)
