/**
 * Every failure as an RFC 9457 problem document with a code that programs match, a sentence for people and what to do about
 * it. A failure nobody expected becomes `internal`, and only the log says more: its text may hold what is nobody's business.
 */
import { isError, DomainError, errorTable, type ErrorCode } from '../../domain/errors.ts'
import { redacted } from '../../domain/redact.ts'

export interface Problem {
  type: string
  title: string
  status: number
  detail: string
  code: ErrorCode
  remedy: string
  retryable: boolean
  request_id: string
  /** What the error knows besides, e.g. `limit`. */
  [extension: string]: unknown
}

export const problemType = 'application/problem+json'
/** Seconds after which a retryable call may be made again. */
export const retryAfterS = 1

/** The problem of anything thrown. `onDefect` is told of what is no DomainError. */
export function problemOf(
  thrown: unknown,
  requestId: string,
  onDefect: (thrown: unknown, requestId: string) => void,
): Problem {
  const error = isError(thrown) ? thrown : unexpected(thrown, requestId, onDefect)
  const { status, retryable, remedy } = errorTable[error.code]
  return {
    ...error.context,
    type: `urn:tenure:problem:${error.code}`,
    title: titleOf(error.code),
    status,
    detail: redacted(error.message),
    code: error.code,
    remedy,
    retryable,
    request_id: requestId,
  }
}

/** The body that tells of it: under /v2/ as the Open Inference Protocol says it, and with its code. */
export const textOfProblem = (problem: Problem, path: string): string =>
  redacted(JSON.stringify(isInference(path) ? { error: problem.detail, code: problem.code } : problem))

const isInference = (path: string): boolean => path === '/v2' || path.startsWith('/v2/')

/**
 * `browsed` when a key may come as a browser's password. Chromium reads a line of challenges as the first of them, whatever
 * follows; behind Bearer it would never ask for the password. Where a password does not open, it must not ask again.
 */
export function headersOf(problem: Problem, path: string, browsed = false): Record<string, string> {
  return {
    'content-type': isInference(path) ? 'application/json' : problemType,
    'x-request-id': problem.request_id,
    ...(problem.retryable && (problem.status >= 500 || problem.status === 429)
      ? { 'retry-after': String(problem['retry_after_s'] ?? retryAfterS) }
      : {}),
    ...(problem.code === 'unauthenticated'
      ? { 'www-authenticate': `${browsed ? 'Basic realm="tenure", ' : ''}Bearer realm="tenure"` }
      : {}),
    ...(Array.isArray(problem['allow']) ? { allow: problem['allow'].join(', ') } : {}),
    ...(Array.isArray(problem['encodings']) ? { 'accept-encoding': problem['encodings'].join(', ') } : {}),
  }
}

const titleOf = (code: ErrorCode): string => {
  const words = code.replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

function unexpected(
  thrown: unknown,
  requestId: string,
  onDefect: (thrown: unknown, requestId: string) => void,
): DomainError {
  onDefect(thrown, requestId)
  return new DomainError('internal', `the request failed in a way nobody foresaw (request ${requestId})`)
}
