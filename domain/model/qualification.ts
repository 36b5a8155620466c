/** Defines the limits of the pre-flight checks: a candidate beyond one of them is refused before it serves a request. */
import { networkLimits } from '@tenure/predictors/network-limits'
import type { PolicyIssues } from '../policy-issues.ts'

export interface QualificationLimits {
  /** The time limit of loading, predicting and measuring together: seconds, but on a busy machine a good candidate took 30 of them. */
  timeoutMs: number
  /** The 99th percentile of the time for one row, from its features to its prediction. */
  p99Us: number
  /** The resident memory of the process with the candidate loaded. */
  rssBytes: number
  /**
   * The weights of a TensorFlow.js network, at most 64 MiB. One row takes 0.4 ms of the event loop with 8 MiB of weights, 6 ms with 32
   * MiB, which no longer fit its cache, and 11 ms with 64 MiB. A request with n rows takes n times as long.
   */
  weightBytes: number
}

export const defaultQualification: QualificationLimits = {
  timeoutMs: 120_000,
  p99Us: 20_000,
  rssBytes: 512 * 1_048_576,
  weightBytes: 8 * 1_048_576,
}

export function checkQualification(check: PolicyIssues, limits: Partial<QualificationLimits>): void {
  for (const [name, value] of Object.entries(limits))
    check.integer(
      `qualification.${name}`,
      value,
      1,
      name === 'weightBytes' ? networkLimits.weightBytes : undefined,
    )
}
