/** Describes failed calls: the status of gRPC for each status of HTTP, and the metadata of a response. */
import { Metadata, status as codes } from '@grpc/grpc-js'
import { headersOf, problemOf, requestIdFrom, type Problem } from '../http/problem.ts'
import type { ApiLog } from '../deps.ts'
import { requestIdHeader } from '../../domain/request-headers.ts'

export interface Failure {
  code: codes
  details: string
}

const codeOfStatus: Readonly<Record<number, codes>> = {
  401: codes.UNAUTHENTICATED,
  403: codes.PERMISSION_DENIED,
  404: codes.NOT_FOUND,
  408: codes.DEADLINE_EXCEEDED,
  409: codes.FAILED_PRECONDITION,
  429: codes.RESOURCE_EXHAUSTED,
  500: codes.INTERNAL,
  503: codes.UNAVAILABLE,
  504: codes.DEADLINE_EXCEEDED,
}

/** Describes a failed call. The error code precedes the text, because gRPC has no field for it. */
export const failureOf = (status: number, text: string, code: string): Failure => ({
  code: code === 'overloaded' ? codes.RESOURCE_EXHAUSTED : (codeOfStatus[status] ?? codes.INVALID_ARGUMENT),
  details: `${code}: ${text}`,
})

/** Describes a call that failed with an error, and logs a defect. */
export function refusalOf(
  error: unknown,
  sent: Metadata,
  log: ApiLog,
): Failure & { metadata: Metadata; problem: Problem } {
  const id = requestIdFrom(headerOf(sent, requestIdHeader))
  const problem = problemOf(error, id, (err, requestId) => log.error({ requestId, err }, 'defect'))
  const metadata = metadataWith(id, headersOf(problem, '')['retry-after'])
  return { ...failureOf(problem.status, problem.detail, problem.code), metadata, problem }
}

export function headerOf(metadata: Metadata, name: string): string | undefined {
  const [value] = metadata.get(name)
  return value === undefined ? undefined : String(value)
}

export function metadataWith(requestId: string, retryAfter?: string): Metadata {
  const metadata = new Metadata()
  if (requestId !== '') metadata.set(requestIdHeader, requestId)
  if (retryAfter !== undefined) metadata.set('retry-after', retryAfter)
  return metadata
}
