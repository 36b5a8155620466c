/**
 * What every judge answers. A verdict carries its arithmetic, so that a person can check the decision and a
 * stored one can be explained years later.
 */

/**
 * - `pass`: the evidence asked for is there and speaks for the candidate.
 * - `fail`: the evidence speaks against the candidate; it is taken back.
 * - `inconclusive`: not enough evidence yet; wait until the deadline, then ask a person.
 * - `no_data`: nothing, stale or one-sided data; hold, and take back at the deadline.
 * - `error`: the evidence cannot be read (negative counters, not finite); hold, and take back at the deadline.
 */
export type VerdictKind = 'pass' | 'fail' | 'inconclusive' | 'no_data' | 'error'

export interface Reason {
  /** A stable word for programs, e.g. `error_rate`. */
  code: string
  /** One sentence with its arithmetic, e.g. "canary 4.1 % errors against 0.5 %: logE 7.9 > 4.6". */
  message: string
  values: Record<string, number | string | null>
}

export interface Verdict {
  kind: VerdictKind
  reasons: Reason[]
  /** Named statistics; null where undefined, never NaN. */
  statistics: Record<string, number | null>
  /** The judge and its version, e.g. `canary@1`. */
  judge: string
}

/** Begins the reason of a rollback without data; a drill recognises its success by it. */
export const noDataPrefix = 'no data at the deadline'
