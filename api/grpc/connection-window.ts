/** Raises the bytes that a client may send on a gRPC connection before they are read. grpc-js has no server option for it. */
import { subscribe } from 'node:diagnostics_channel'
import type { Http2Session, Http2Stream } from 'node:http2'

/**
 * The HTTP/2 default of 65,535 bytes makes a client wait that sends six requests of a hundred rows at once. The limit per stream keeps the
 * default.
 */
const windowBytes = 1_048_576

const widened = new WeakSet<Http2Session>()

/** Widens the window of each connection at its first call, from Node.js 24 on. No other server of the process speaks HTTP/2. */
export const widenConnections = (): void =>
  subscribe('http2.server.stream.created', (message) => {
    const { session } = (message as { stream: Http2Stream }).stream
    if (session === undefined || session.destroyed || widened.has(session)) return
    widened.add(session)
    session.setLocalWindowSize(windowBytes)
  })
