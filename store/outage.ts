/**
 * Tracks which Postgres operations failed recently. Replicas serve without a database and a full disk still allows reads, so requests do
 * not reveal an outage and it must be reported here.
 */

export interface Outage extends Omit<OutageMeaning, 'kind'> {
  /**
   * `full`: the disk is full, and only reads succeed. `read_only`: a standby, or a server that refuses writes. `away`: the server does not
   * respond.
   */
  kind: Exclude<OutageMeaning['kind'], 'slow'>
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

/** What a failure of Postgres means, and its remedy. */
export interface OutageMeaning {
  /** `slow`: the server answers, and has ended a statement at its limit. That is no outage. */
  kind: 'full' | 'read_only' | 'away' | 'slow'
  /** Continues a sentence whose subject is Postgres. */
  what: string
  /** Begins with an imperative. */
  remedy: string
}

const later = 'predictions continue, and what waits for the database then continues'

/**
 * The failures of Postgres, by SQLSTATE (PostgreSQL manual, appendix A); the first that matches counts. Commands, pages, `/readyz`, `tenure
 * doctor` and alerts describe an outage by this table.
 */
export const outageMeanings = [
  {
    matches: /^(53100|ENOSPC|EDQUOT)$/,
    kind: 'full',
    what: 'has no room on its disk',
    remedy: `Free space on the disk of the database, or enlarge it; ${later}.`,
  },
  {
    matches: /^25006$/,
    kind: 'read_only',
    what: 'is read-only',
    remedy: `Let DATABASE_URL name the primary (select pg_is_in_recovery()), or end the read-only mode (show default_transaction_read_only), which a service may set when its disk is nearly full; ${later}.`,
  },
  {
    matches: /^53200$/,
    kind: 'away',
    what: 'has no memory left',
    remedy: 'Give the machine of Postgres more memory, or lower work_mem and max_connections.',
  },
  {
    matches: /^53300$/,
    kind: 'away',
    what: 'has no free connection',
    remedy: 'Raise max_connections, or close sessions: select * from pg_stat_activity.',
  },
  {
    matches: /^53/,
    kind: 'away',
    what: 'has reached a limit',
    remedy: 'Raise the limit of Postgres that the message names.',
  },
  {
    matches: /^57P0[1-5]$/,
    kind: 'away',
    what: 'is starting or stopping',
    remedy: `Wait until Postgres has started, and read its log where it does not: on a full disk it restarts repeatedly; ${later}.`,
  },
  {
    matches: /^57014$/,
    kind: 'slow',
    what: 'is slow',
    remedy:
      'Retry later; predictions continue. If it stays so, see what Postgres is doing: select * from pg_stat_activity where wait_event is not null.',
  },
  {
    matches: /^/,
    kind: 'away',
    what: 'did not answer',
    remedy: 'Retry later; predictions continue. Find the cause with `tenure doctor`.',
  },
] as const satisfies readonly (OutageMeaning & { matches: RegExp })[]

export function meaningOfOutage(error: unknown): OutageMeaning {
  const { code } = (error ?? {}) as { code?: unknown }
  const key = isFull(error) ? '53100' : String(code ?? '')
  return outageMeanings.find(({ matches }) => matches.test(key)) ?? outageMeanings.at(-1)!
}

export function createOutageTracker(now: () => number = () => performance.now()) {
  let last: (Omit<Outage, 'forMs'> & { firstMs: number; atMs: number }) | undefined
  return {
    saw(error: Error): void {
      const atMs = now()
      const continues = last !== undefined && atMs - last.atMs <= quietMs
      const { kind, what, remedy } = meaningOfOutage(error)
      if (kind === 'slow') return
      const current = { kind, what, remedy, why: error.message }
      // On a full disk, Postgres restarts repeatedly, and most failures say only that it is away.
      const isSame = continues && last!.kind === 'full' && kind === 'away'
      last = { ...(isSame ? last! : current), firstMs: continues ? last!.firstMs : atMs, atMs }
    },
    /** Undefined without an outage. */
    outage(): Outage | undefined {
      if (last === undefined || now() - last.atMs > quietMs) return undefined
      const { firstMs, atMs: _at, ...facts } = last
      return { ...facts, forMs: Math.round(now() - firstMs) }
    },
  }
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
