/**
 * Tracks which Postgres operations failed recently. Replicas serve without a database and a full disk still allows reads, so requests do
 * not reveal an outage and it must be reported here.
 */

export interface Outage {
  /**
   * `full`: the disk is full, and only reads succeed. `read_only`: a standby, or a server that refuses writes. `away`: the server does not
   * respond.
   */
  kind: 'full' | 'read_only' | 'away'
  /** The message of the server or the driver. */
  why: string
  /** The duration of the outage, without a pause longer than `quietMs`. */
  forMs: number
}

/**
 * An outage is over after this time without a failure. Every process queries every few seconds, so an ongoing outage keeps causing
 * failures.
 */
const quietMs = 5_000

export function createOutageTracker(now: () => number = () => performance.now()) {
  let last: { kind: Outage['kind']; why: string; firstMs: number; atMs: number } | undefined
  return {
    saw(error: Error): void {
      const atMs = now()
      const continues = last !== undefined && atMs - last.atMs <= quietMs
      last = {
        kind: outageKindOf(error),
        why: error.message,
        firstMs: continues ? last!.firstMs : atMs,
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

export const outageKindOf = (error: unknown): Outage['kind'] => {
  if (isFull(error)) return 'full'
  return isReadOnly(error) ? 'read_only' : 'away'
}

/** SQLSTATE read_only_sql_transaction. Of a query from outside, whose transaction is read-only, it means that the query writes. */
export const isReadOnly = (error: unknown): error is Error =>
  error instanceof Error && (error as { code?: unknown }).code === '25006'

/** SQLSTATE disk_full, or the errors of the system, DuckDB and SQLite; a Temporal client has them only in the cause. */
export const isFull = (error: unknown): boolean =>
  error instanceof Error &&
  (['53100', 'ENOSPC', 'EDQUOT'].includes(String((error as { code?: unknown }).code)) ||
    /No space left on device|database or disk is full/.test(error.message) ||
    isFull(error.cause))

/** Whether a deadline has passed, so that the server may only be slow. A rejection is a response. */
export const isTimeout = (error: unknown): boolean => error instanceof Error && /timeout/i.test(error.message)
