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
  /** How many times the champion's 99th percentile the candidate's may be. Both are measured in turn, in processes of their own. */
  p99Times?: number
  /** How many times the champion's processor time for a row the candidate's may be. */
  cpuTimes?: number
  /** How many times the resident memory of the champion's process that of the candidate's may be. */
  rssTimes?: number
}

export const defaultQualification: QualificationLimits = {
  timeoutMs: 120_000,
  p99Us: 20_000,
  rssBytes: 512 * 1_048_576,
  weightBytes: 8 * 1_048_576,
}

const maxTimes = 1_000

/** What a ratio to the champion must be. */
export const timesRange = `a number from 1 to ${maxTimes}`

export const isTimes = (value: unknown): boolean =>
  typeof value === 'number' && value >= 1 && value <= maxTimes

/** The limits of a policy without any. */
export const loosestQualification = {
  ...defaultQualification,
  p99Times: maxTimes,
  cpuTimes: maxTimes,
  rssTimes: maxTimes,
}

export function checkQualification(check: PolicyIssues, limits: Partial<QualificationLimits>): void {
  for (const [name, value] of Object.entries(limits))
    if (name.endsWith('Times'))
      check.need(isTimes(value), `qualification.${name} is ${timesRange}, not ${value}`)
    else
      check.integer(
        `qualification.${name}`,
        value,
        1,
        name === 'weightBytes' ? networkLimits.weightBytes : undefined,
      )
}
