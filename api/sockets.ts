/**
 * The HTTP server of a replica with everything that bounds its callers: how many hold a connection, and for how long without
 * sending what they came for. Without these, a few thousand who send a byte a second keep all others out.
 */
import { createServer, type Server } from 'node:http'

export interface SocketLimits {
  /** How long the headers of a request may take, and the whole of it, in milliseconds. */
  headersTimeout: number
  requestTimeout: number
  /** How long a connection may stand idle between two requests. */
  keepAliveTimeout: number
  /** How often late callers are looked for; twice a minute unless told otherwise, so that they would hold on for most of one. */
  connectionsCheckingInterval: number
  /** Each has one request at a time, so this bounds how many can wait here; more wait where they come from. */
  mostConnections: number
}

export const socketLimits: SocketLimits = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 2_000,
  mostConnections: 8_192,
}

/**
 * Connections that wait to be taken while this process is busy. Beyond them the kernel drops the caller's first packet, who
 * sends it again after a second: at 511, which is Node's, a burst costs its callers that second long before anything is full.
 */
export const waitingConnections = 4_096

/** A server that listens to nothing yet. `onFull` is told of each connection that is turned away. */
export function createSockets(onFull: () => void, limits: SocketLimits = socketLimits): Server {
  const { mostConnections, ...patience } = limits
  const server = createServer(patience)
  server.maxConnections = mostConnections
  server.on('drop', onFull)
  return server
}
