/**
 * Creates Node's HTTP server with limits on the number of connections and on their time without a complete request: a few thousand
 * clients that send a byte a second would otherwise occupy every connection.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { Duplex } from 'node:stream'
import { closeIfIdle, createConnectionReaper } from './connection-reaper.ts'
import { continueOnRead, hasStartedResponse } from './node-internals.ts'

export interface SocketLimits {
  /** Time limits in milliseconds: for the headers of a request, and for the complete request. */
  headersTimeout: number
  requestTimeout: number
  /** How long a connection may stay idle between two requests, as clients are told in `Keep-Alive`. */
  keepAliveTimeout: number
  /**
   * How long the server waits beyond it. A client that was busy for seconds sends its next requests on connections it would have closed;
   * they would all fail if the server had closed them first. Node before 24.6 closes at `keepAliveTimeout`.
   */
  keepAliveTimeoutBuffer: number
  /** The interval of the check for late requests. With Node's default of 30 s, a late request could stay open for 30 s longer. */
  connectionsCheckingInterval: number
  /** Each connection has one request at a time, so this limits the waiting requests. */
  maxConnections: number
}

export const socketLimits: SocketLimits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  keepAliveTimeoutBuffer: 10_000,
  connectionsCheckingInterval: 500,
  maxConnections: 8_192,
}

/**
 * Connections that the kernel queues while this process is busy. Beyond it, the kernel drops the client's first packet, which costs the
 * client a second. A burst exceeds Node's default of 511 long before the replica is overloaded.
 */
export const listenBacklog = 4_096

/** Time limit of the TLS handshake. Not longer than a drain, which waits for it. */
const handshakeTimeout = 3_000

/** Why a request is refused that no handler gets. */
export type RefusalCode = keyof typeof refusedStatus

const refusedStatus = {
  malformed_request: 400,
  request_timeout: 408,
  body_too_large: 413,
  expectation_failed: 417,
  headers_too_large: 431,
} as const

export interface Refusal {
  status: number
  headers: Readonly<Record<string, string>>
  text: string
}

/** Returns the response to a refused request. The request is known only if its head is complete. */
export type RefusalOf = (code: RefusalCode, message: string, request?: IncomingMessage) => Refusal

/** The certificate of a server, renewed without a restart. */
export interface RenewedCertificate {
  /** `ca`: the authorities of the certificates that clients are asked for; without it, they are not asked. */
  current(): { cert: Buffer; key: Buffer; ca?: Buffer | undefined }
  /** Calls back with each new certificate. */
  subscribe(use: (certificate: { cert: Buffer; key: Buffer; ca?: Buffer | undefined }) => void): void
}

export interface HttpServerOptions {
  limits?: SocketLimits
  /** Serves HTTPS. */
  certificate?: RenewedCertificate | undefined
  /** Called for each connection that is closed because there are too many. */
  onFull?: () => void
  /** Default: a problem document of RFC 9457. */
  refusalOf?: RefusalOf
}

/** Creates a server that does not listen yet. */
export function createHttpServer({
  limits = socketLimits,
  certificate,
  onFull,
  refusalOf = problemOf,
}: HttpServerOptions = {}): Server {
  const { maxConnections, ...timeouts } = limits
  const { keepAliveTimeoutBuffer } = timeouts
  // A missing Host header gets a refusal with a body, and is allowed in HTTP/1.0.
  const options = { ...timeouts, requireHostHeader: false }
  const server = certificate === undefined ? createServer(options) : openSecure(options, certificate)
  server.on('checkContinue', (request, response) => {
    continueOnRead(request, response)
    server.emit('request', request, response)
  })
  server.on('checkExpectation', (request, response) => {
    const refusal = refusalOf('expectation_failed', 'the expectation is not supported', request)
    response.shouldKeepAlive = false
    response.writeHead(refusal.status, headersOf(refusal)).end(refusal.text)
  })
  Object.assign(server, { maxConnections, keepAliveTimeoutBuffer })
  if (onFull !== undefined) server.on('drop', onFull)
  const [closeIdleLater, closeLateLater] = [createConnectionReaper(), createConnectionReaper()]
  const requestsOf = watchRequests(server)
  server.on('timeout', (socket) => closeIdleLater(socket, closeIfIdle(socket)))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') return refuseConnection(socket, error, refusalOf)
    const hasCompleted = requestsOf(socket)
    closeLateLater(socket, () => void (hasCompleted() || refuseConnection(socket, error, refusalOf)))
  })
  return server
}

/**
 * A client without a certificate is refused request by request (`FrontHandler.takes`) and not in the handshake, because the health checks
 * of Kubernetes and load balancers have none.
 */
function openSecure(options: object, certificate: RenewedCertificate): Server {
  const { cert, key, ca } = certificate.current()
  const asksCaller = ca !== undefined
  const server = createSecureServer({
    ...options,
    cert,
    key,
    ca,
    minVersion: 'TLSv1.2',
    handshakeTimeout,
    requestCert: asksCaller,
    rejectUnauthorized: false,
  })
  certificate.subscribe((fresh) => server.setSecureContext({ ...fresh, minVersion: 'TLSv1.2' }))
  // Node passes it to `clientError`, which would respond in plain text.
  server.removeAllListeners('tlsClientError')
  server.on('tlsClientError', (_error, socket) => void socket.destroy())
  return server
}

/** Starts listening and resolves with the address. Port 0 means any free port. */
export function listenOn(
  server: Server,
  { host, port }: { host: string; port: number },
): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: listenBacklog }, () => {
      server.off('error', reject)
      const address = server.address()
      resolve({
        host,
        port: typeof address === 'object' && address !== null ? address.port : port,
      })
    })
  })
}

/**
 * Returns a function that marks the present moment of a connection. The mark then reports whether a request of the connection has become
 * complete since. Such a request is being served or was served, and Node restarts the timeouts for the next one.
 */
function watchRequests(server: Server): (socket: Duplex) => () => boolean {
  const latest = new WeakMap<Duplex, IncomingMessage>()
  server.on('request', (request) => latest.set(request.socket, request))
  return (socket) => {
    const before = latest.get(socket)
    const wasComplete = before?.complete === true
    return () => {
      const now = latest.get(socket)
      return now?.complete === true && !(now === before && wasComplete)
    }
  }
}

/** Maps Node's parser errors that have their own status. Any other error is a malformed request. */
const refusals: Readonly<Record<string, [code: RefusalCode, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['request_timeout', 'the request is not complete in time'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['body_too_large', 'the extensions of a chunk are too long'],
  HPE_HEADER_OVERFLOW: ['headers_too_large', 'the header lines have more than 16 KiB'],
}

/** Closes a connection with a refusal, unless a response has started. */
function refuseConnection(socket: Duplex, error: NodeJS.ErrnoException, refusalOf: RefusalOf): void {
  if (socket.writable && !hasStartedResponse(socket)) {
    const isCut = error.code === 'HPE_INVALID_EOF_STATE'
    const why = isCut ? 'it is not complete' : error.message.replace(/^Parse Error: /, '')
    const [code, message] = refusals[error.code ?? ''] ?? [
      'malformed_request',
      `the request is not valid HTTP: ${why}`,
    ]
    const refusal = refusalOf(code, message)
    const headers = { ...headersOf(refusal), connection: 'close' }
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const { status, text } = refusal
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${text}`)
  }
  socket.destroy(error)
}

const headersOf = ({ headers, text }: Refusal): Record<string, string> => ({
  ...headers,
  'x-content-type-options': 'nosniff',
  'content-length': String(Buffer.byteLength(text)),
})

function problemOf(code: RefusalCode, detail: string): Refusal {
  const status = refusedStatus[code]
  const problem = { type: 'about:blank', title: STATUS_CODES[status], status, detail, code }
  return { status, headers: { 'content-type': 'application/problem+json' }, text: JSON.stringify(problem) }
}
