/**
 * The HTTP server of a replica with everything that bounds its callers: how many hold a connection, and for how long without
 * sending what they came for. Without these, a few thousand who send a byte a second keep all others out.
 */
import { createServer, STATUS_CODES, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { closeIfIdle, createConnectionReaper } from './connection-reaper.ts'

export interface SocketLimits {
  /** How long the headers of a request may take, and the whole of it, in milliseconds. */
  headersTimeout: number
  requestTimeout: number
  /** How long a connection may stand idle between two requests. */
  keepAliveTimeout: number
  /** How often late callers are looked for; twice a minute unless told otherwise, so that they would hold on for most of one. */
  connectionsCheckingInterval: number
  /** Each has one request at a time, so this bounds how many can wait here; more wait where they come from. */
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
 * Connections that wait to be taken while this process is busy. Beyond them the kernel drops the caller's first packet, who
 * sends it again after a second: at 511, which is Node's, a burst costs its callers that second long before anything is full.
 */
export const waitingConnections = 4_096

/** A server that listens to nothing yet. `onFull` is told of each connection that is turned away. */
export function createSockets(onFull: () => void, limits: SocketLimits = socketLimits): Server {
  const { maxConnections, ...patience } = limits
  const server = createServer(patience)
  server.maxConnections = maxConnections
  server.on('drop', onFull)
  const [seeOffIdle, seeOffLate] = [createConnectionReaper(), createConnectionReaper()]
  const asksOf = watchRequests(server)
  server.on('timeout', (socket) => seeOffIdle(socket, closeIfIdle(socket)))
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ERR_HTTP_REQUEST_TIMEOUT') return refuseConnection(socket, error)
    const hasFinished = asksOf(socket)
    seeOffLate(socket, () => void (hasFinished() || refuseConnection(socket, error)))
  })
  return server
}

/**
 * Tells of a connection whether a request of it has become whole since. It is being answered then, or has been, and Node counts
 * the time of the next one anew.
 */
function watchRequests(server: Server): (socket: Duplex) => () => boolean {
  const latest = new WeakMap<Duplex, IncomingMessage>()
  server.on('request', (request) => latest.set(request.socket, request))
  return (socket) => {
    const before = latest.get(socket)
    const wasWhole = before?.complete === true
    return () => {
      const now = latest.get(socket)
      return now?.complete === true && !(now === before && wasWhole)
    }
  }
}

/** What Node says when nobody listens to these errors; any other is a request that it cannot read. */
const statuses: Readonly<Record<string, number>> = {
  ERR_HTTP_REQUEST_TIMEOUT: 408,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  HPE_HEADER_OVERFLOW: 431,
}

/** Closes it with a few words, unless an answer is on its way; without an error because what came is no request. */
export function refuseConnection(socket: Duplex, error?: NodeJS.ErrnoException): void {
  const status = statuses[error?.code ?? ''] ?? 400
  if (socket.writable && !hasBegunToAnswer(socket))
    socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n\r\n`)
  socket.destroy(error)
}

const hasBegunToAnswer = (socket: Duplex): boolean =>
  (socket as Duplex & { _httpMessage?: { _headerSent: boolean } | null })._httpMessage?._headerSent ?? false
