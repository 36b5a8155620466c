/**
 * Translates failures into RFC 9457 problem documents with a stable code and a remedy. An unexpected failure becomes `internal`; its
 * message goes to the log only, because it may contain private data.
 */
import { requestIdHeader } from '../../domain/request-headers.ts'
import { randomBytes, randomUUID } from 'node:crypto'
import { isError, DomainError, errorTable, remedyOf, type ErrorCode } from '../../domain/errors.ts'
import { capitalized } from '../../domain/figures.ts'
import { isFull } from '../../store/outage.ts'
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
  /** Context of the error, for example `limit`. */
  [extension: string]: unknown
}

export const problemType = 'application/problem+json'
/** The default of `Retry-After`, in seconds. */
export const retryAfterS = 1

export const requestIdPattern = /^[\w.:-]{1,100}$/

/** Returns the caller's request id, or a new one. */
export const requestIdFrom = (sent: unknown): string =>
  typeof sent === 'string' && requestIdPattern.test(sent) ? sent : randomUUID()

const processMark = randomBytes(9).toString('base64url')
let made = 0

/** Returns the caller's request id, or a new one without the cost of a random UUID, which would slow predictions down. */
export const quickRequestId = (sent: string | undefined): string =>
  sent !== undefined && requestIdPattern.test(sent) ? sent : `${processMark}.${(++made).toString(36)}`

/** Converts an error. Calls `onDefect` with every error that is not a DomainError. */
export function problemOf(
  thrown: unknown,
  requestId: string,
  onDefect: (thrown: unknown, requestId: string) => void,
): Problem {
  const error = isError(thrown) ? thrown : unexpected(thrown, requestId, onDefect)
  const { status, retryable } = errorTable[error.code]
  return {
    ...error.context,
    type: `urn:tenure:problem:${error.code}`,
    title: titleOf(error.code),
    status,
    detail: redacted(error.message),
    code: error.code,
    remedy: redacted(remedyOf(error)),
    retryable,
    request_id: requestId,
  }
}

/** The error format that the clients of a path read; `problem` is RFC 9457. */
export type ErrorShape = 'problem' | 'inference' | 'mlflow'

/** Returns the error format of a requested path or of a declared route. */
export function errorShapeOf(path: string): ErrorShape {
  const [plain = ''] = path.split('?')
  if (plain === '/v2' || plain.startsWith('/v2/')) return 'inference'
  // Clients of KServe version 1 read the same error format.
  if (/^\/v1\/models\/[^/]+(:|%3a)predict$/i.test(plain)) return 'inference'
  return /^(\/v1\/models\/[^/]+)?\/invocations$/.test(plain) ? 'mlflow' : 'problem'
}

/** The error codes that MLflow clients know, by HTTP status. */
const mlflowCodes: Readonly<Record<number, string>> = {
  401: 'UNAUTHENTICATED',
  403: 'PERMISSION_DENIED',
  404: 'RESOURCE_DOES_NOT_EXIST',
  409: 'RESOURCE_CONFLICT',
  429: 'REQUEST_LIMIT_EXCEEDED',
  500: 'INTERNAL_ERROR',
  503: 'TEMPORARILY_UNAVAILABLE',
  504: 'TEMPORARILY_UNAVAILABLE',
}

/** Returns the response body in the format of the protocol. The formats of other protocols carry Tenure's code in an additional field. */
export function textOfProblem(problem: Problem, path: string): string {
  const { detail, code, status } = problem
  const bodies = {
    problem,
    inference: { error: detail, code },
    mlflow: { error_code: mlflowCodes[status] ?? 'BAD_REQUEST', message: detail, code },
  }
  return redacted(JSON.stringify(bodies[errorShapeOf(path)]))
}

/**
 * Returns the response headers. `browsed`: the browser may send a key as a password. Chromium reads only the first challenge of a header
 * line, so Basic comes first; it is left out where a password is not accepted.
 */
export function headersOf(problem: Problem, path: string, browsed = false): Record<string, string> {
  return {
    'content-type': errorShapeOf(path) === 'problem' ? problemType : 'application/json',
    [requestIdHeader]: problem.request_id,
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
  return capitalized(words)
}

function unexpected(
  thrown: unknown,
  requestId: string,
  onDefect: (thrown: unknown, requestId: string) => void,
): DomainError {
  if (isFull(thrown)) return new DomainError('no_room', `a disk is full: ${(thrown as Error).message}`)
  onDefect(thrown, requestId)
  return new DomainError('internal', `the request failed unexpectedly (request ${requestId})`)
}
