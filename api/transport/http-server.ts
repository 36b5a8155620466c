/**
 * Creates the HTTP server of a replica and bounds its connections: their number, and the time without a complete request.
 * A few thousand clients that send a byte a second would otherwise occupy every connection.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeIfIdle, createConnectionReaper } from './connection-reaper.ts'
import { hasStartedResponse } from './node-internals.ts'

export interface SocketLimits {
  /** How long the headers of a request may take, and the complete request, in milliseconds. */
  headersTimeout: number
  requestTimeout: number
  /** How long a connection may stay idle between two requests. */
  keepAliveTimeout: number
  /** How often late requests are looked for. Node's default of 30 s would let them stay for most of a minute. */
  connectionsCheckingInterval: number
  /** Each connection has one request at a time, so this bounds the requests that can wait here. */
  maxConnections: number
}

export const socketLimits: SocketLimits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 500,
  maxConnections: 8_192,
}

/**
 * Connections that the kernel queues while this process is busy. Beyond them it drops the client's first packet, which costs the
 * client a second; Node's default of 511 is exceeded by a burst long before the replica is overloaded.
 */
export const listenBacklog = 4_096

/** A server that does not listen yet. `onFull` is called for each connection that is rejected. */
export function createHttpServer(onFull: () => void, limits: SocketLimits = socketLimits): Server {
  const { maxConnections, ...timeouts } = limits
  const server = createServer(timeouts)
  server.maxConnections = maxConnections
  server.on('drop', onFull)
  const [closeIdleLater, closeLateLater] = [createConnectionReaper(), createConnectionReaper()]
  const requestsOf = watchRequests(server)
  server.on('timeout', (socket) => closeIdleLater(socket, closeIfIdle(socket)))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') return refuseConnection(socket, error)
    const hasCompleted = requestsOf(socket)
    closeLateLater(socket, () => void (hasCompleted() || refuseConnection(socket, error)))
  })
  return server
}

/**
 * For a connection, whether one of its requests has become complete since. Such a request is being served or has been, and Node
 * restarts the timeouts for the next one.
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

/** The statuses that Node sends for these errors; any other error is a malformed request. */
const statuses: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
}

/** Closes a connection with a status, unless a response is under way; 400 without an error. */
export function refuseConnection(socket: Duplex, error?: NodeJS.ErrnoException): void {
  const status = statuses[error?.code ?? ''] ?? 400
  if (socket.writable && !hasStartedResponse(socket))
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`)
  socket.destroy(error)
}
