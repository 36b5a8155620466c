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

export const maxLoggedRequests = 100_000
export const loggedDays = 7

/** `2,000 logged requests from … to …; those of m_v1.0.0 are left out: …`. */
export function requestsText({ rows, since, to, leftOut }: LoggedRequests): string {
  const found =
    rows === 0
      ? `no logged requests from ${since} to ${to} can be asked again`
      : `${counted(rows, 'logged request')} from ${since} to ${to}${rows < maxLoggedRequests ? '' : `, the most that are asked again (${groupedDigits(maxLoggedRequests)})`}`
  return [found, ...leftOut].join('; ')
}
