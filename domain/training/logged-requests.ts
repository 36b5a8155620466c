/** Describes the requests of the prediction log that versions are asked again, without outcomes. */
import { counted, groupedDigits } from '../figures.ts'

export interface LoggedRequests {
  /** Names their file among the snapshots; absent without rows. */
  digest?: string
  /** An instance of a request is a row. */
  rows: number
  /** ISO 8601: the period. */
  since: string
  to: string
  /** Requests of which versions are left out, and why. */
  leftOut: string[]
}

/** The columns of the file beside the features. */
export const requestColumns = {
  /** The id of the prediction. */
  id: '_prediction_id',
  /** A number for each routing key, and for each request without one. */
  caller: '_caller',
} as const

/** What became of them. */
export interface AskedRequests extends LoggedRequests {
  /** How many the parent answered and the child was asked. */
  answered: number
  /** Why the others were not asked; absent when all were. */
  unasked?: string
}

const loggedMs = 7 * 86_400_000

/** The last seven days, or what of them was after a time. */
export function loggedSpan(nowMs: number, after?: string): { since: string; to: string } {
  const sinceMs = Math.max(nowMs - loggedMs, after === undefined ? 0 : Date.parse(after))
  return { since: new Date(sinceMs).toISOString(), to: new Date(nowMs).toISOString() }
}

/** `2,000 logged requests from … to …; those that m_v1.0.0 answered are left out: …`. */
export function requestsText({ rows, answered, since, to, leftOut, unasked }: AskedRequests): string {
  const found =
    rows === 0
      ? `no logged requests: the log has none from ${since} to ${to} that can be asked again`
      : `${groupedDigits(answered)} of ${counted(rows, 'logged request')} from ${since} to ${to} were asked again`
  return [found, ...leftOut, ...(unasked === undefined ? [] : [unasked])].join('; ')
}
