/**
 * Refuses requests whose `Host` names another server. Holds early requests until their handlers are loaded, so that a starting replica
 * refuses none.
 */
import { requestIdHeader } from '../../domain/request-headers.ts'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { Refusal, RefusalOf } from '@tenure/http-front'
import { DomainError } from '../../domain/errors.ts'
import { shown } from '../../domain/postgres-text.ts'
import { headersOf, problemOf, requestIdFrom, textOfProblem } from './problem.ts'
import { requireCertificate, type CertificateCheck } from '../auth/client-certificate.ts'
import type { CrossOrigin } from '../auth/cross-origin.ts'
import { requireOwnHost, type HostCheck } from '../auth/sender.ts'

/** Handles a request, or returns false. */
type TryHandle = (...exchange: Parameters<RequestListener>) => boolean

export interface RequestGate {
  /** Opens the gate for predictions and, until the routes are mounted, for health checks. */
  open(predict: TryHandle, health: TryHandle): void
  mount(routes: RequestListener): void
}

export function createRequestGate(
  server: Server,
  isOwnHost: HostCheck,
  crossOrigin: CrossOrigin,
  hasCertificate: CertificateCheck = () => true,
): RequestGate {
  const held: Parameters<RequestListener>[] = []
  let tryPredict: TryHandle = () => false
  let tryHealth: TryHandle = () => false
  let routes: RequestListener | undefined
  const pass: RequestListener = (...exchange) => {
    if (tryPredict(...exchange)) return
    if (routes !== undefined) routes(...exchange)
    else if (!tryHealth(...exchange)) held.push(exchange)
  }
  const release = (): void => {
    for (const exchange of held.splice(0)) pass(...exchange)
  }
  server.on('request', (request, response) => {
    try {
      requireCertificate(request, hasCertificate)
      requireOwnHost(request, isOwnHost)
    } catch (error) {
      return sendRefusal(request, response, error as DomainError)
    }
    if (request.socket instanceof TLSSocket) markSecure(request)
    if (!crossOrigin(request, response)) pass(request, response)
  })
  return {
    open(predict, health) {
      tryPredict = predict
      tryHealth = health
      release()
    },
    mount(mounted) {
      routes = mounted
      release()
    },
  }
}

/** Sets the header that a TLS proxy would set, because cookies and HSTS depend on it. */
function markSecure({ headers, rawHeaders }: IncomingMessage): void {
  headers['x-forwarded-proto'] = 'https'
  rawHeaders.unshift('x-forwarded-proto', 'https')
}

/** Responds with a problem document and closes the connection, because the rest of the request is not read. */
function sendRefusal(request: IncomingMessage, response: ServerResponse, error: DomainError): void {
  const { status, headers, text } = problemResponse(error, request)
  response.shouldKeepAlive = false
  response.writeHead(status, {
    ...headers,
    'x-content-type-options': 'nosniff',
    'content-length': Buffer.byteLength(text),
  })
  response.end(text)
}

/** Returns the problem document for a request that no handler gets. */
export const refusalOf: RefusalOf = (code, message, request) => {
  const detail =
    code === 'expectation_failed'
      ? `the expectation ${shown(request?.headers.expect)} is not supported`
      : message
  return problemResponse(new DomainError(code, detail), request)
}

function problemResponse(error: DomainError, request: IncomingMessage | undefined): Refusal {
  const { url = '', headers = {} } = request ?? {}
  const problem = problemOf(error, requestIdFrom(headers[requestIdHeader]), () => {})
  return { status: problem.status, headers: headersOf(problem, url), text: textOfProblem(problem, url) }
}
