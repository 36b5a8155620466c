/** Defines the limits of the pre-flight checks: a candidate beyond one of them is refused before it serves a request. */
import { networkLimits } from '@tenure/predictors/network-limits'
import { numberText } from '../figures.ts'
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
  /** How many times the resident memory of the champion's process that of the candidate's may be. */
  rssTimes?: number
}

/** What a version takes in a process of its own: to load, for one row from its features to its prediction, and in resident memory. */
export interface MeasuredCost {
  loadMs: number
  p50Us: number
  p99Us: number
  rssBytes: number
}

/** `champion` is absent where the model has no champion, and where it could not be measured. */
export interface QualificationCost {
  candidate: MeasuredCost
  champion?: MeasuredCost
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
export const loosestQualification = { ...defaultQualification, p99Times: maxTimes, rssTimes: maxTimes }

export function checkQualification(check: PolicyIssues, limits: Partial<QualificationLimits>): void {
  for (const [name, value] of Object.entries(limits))
    if (name === 'p99Times' || name === 'rssTimes')
      check.need(isTimes(value), `qualification.${name} is ${timesRange}, not ${value}`)
    else
      check.integer(
        `qualification.${name}`,
        value,
        1,
        name === 'weightBytes' ? networkLimits.weightBytes : undefined,
      )
}

const mebibytes = (bytes: number): string => `${Math.round(bytes / 1_048_576)} MiB`

/** What a candidate takes for one row, in memory and to load, beside the champion: `7.4 µs a row at the 99th percentile (champion 5.1 µs), …`. */
export function costText({ candidate, champion }: QualificationCost): string {
  const beside = (text: (of: MeasuredCost) => string) =>
    `${text(candidate)}${champion === undefined ? '' : ` (champion ${text(champion)})`}`
  const us = (value: number) => `${numberText(Number(value.toPrecision(3)))} µs`
  return [
    `${beside(({ p50Us }) => us(p50Us))} a row at the median`,
    `${beside(({ p99Us }) => us(p99Us))} at the 99th percentile`,
    `${beside(({ rssBytes }) => mebibytes(rssBytes))} of memory`,
    `loaded in ${beside(({ loadMs }) => `${loadMs} ms`)}`,
  ].join(', ')
}

/** Why a candidate takes too much beside the champion; undefined where it does not, and without a champion. */
export function costIssue(
  { candidate, champion }: QualificationCost,
  { p99Times, rssTimes }: Pick<QualificationLimits, 'p99Times' | 'rssTimes'>,
): string | undefined {
  if (champion === undefined) return undefined
  const times = (of: keyof MeasuredCost) => candidate[of] / champion[of]
  const told = (ratio: number, limit: number) =>
    `${numberText(Number(ratio.toPrecision(3)))} times that of the champion, at most ${numberText(limit)} times are accepted`
  if (p99Times !== undefined && !(times('p99Us') <= p99Times))
    return `its time for a row at the 99th percentile is ${told(times('p99Us'), p99Times)}`
  if (rssTimes !== undefined && !(times('rssBytes') <= rssTimes))
    return `the memory of its process is ${told(times('rssBytes'), rssTimes)}`
  return undefined
}
