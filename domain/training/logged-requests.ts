/** Describes the requests of the prediction log that versions are asked again, without outcomes. */
import { counted, groupedDigits } from '../figures.ts'
import { hash32 } from '../serving/route.ts'

/** A network learns from the requests of the one, and is judged on those of the other. */
export type RequestPart = 'learning' | 'judging'

/** Differs from the seeds of routes, so that each arm of a release has callers of both parts. */
const partSeed = hash32('learning')

/**
 * The part of all requests of a caller, whenever and wherever it is asked for; each has half of the callers. It goes by the caller because
 * that is what the judge draws: of a request that was judged, no other one of its caller was learnt.
 * @param caller the entity where it is a feature of the request, else its routing key, else its id
 */
export const partOfCaller = (caller: string): RequestPart =>
  hash32(caller, partSeed) < 0x8000_0000 ? 'learning' : 'judging'

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
  /** The answer of the version that learns, as JSON; null where another version has answered. In a file to learn from alone. */
  answer: '_answer',
} as const

/** What became of those to learn from. */
export interface TaughtRequests extends LoggedRequests {
  /** How many were learnt. */
  taught: number
  /** How many of these with the answer that was logged; the others were asked again. */
  logged: number
}

/** What became of those to be judged on. */
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

/** `it has learnt from 620 logged requests from … to …, of other callers, 600 of them with the answer in the log`. */
export function taughtRequestsText({ rows, taught, logged, since, to, leftOut }: TaughtRequests): string {
  const found =
    rows === 0
      ? `it has learnt from no logged requests: the log has none from ${since} to ${to} that can be learnt`
      : `it has learnt from ${counted(taught, 'logged request')} from ${since} to ${to}, of other callers, ${groupedDigits(logged)} of them with the answer in the log`
  return [found, ...leftOut].join('; ')
}

/** `2,000 logged requests from … to …; those that m_v1.0.0 answered are left out: …`. */
export function requestsText({ rows, answered, since, to, leftOut, unasked }: AskedRequests): string {
  const found =
    rows === 0
      ? `no logged requests: the log has none from ${since} to ${to} that can be asked again`
      : `${groupedDigits(answered)} of ${counted(rows, 'logged request')} from ${since} to ${to} were asked again`
  return [found, ...leftOut, ...(unasked === undefined ? [] : [unasked])].join('; ')
}
