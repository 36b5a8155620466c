/** How many bytes a connection may send before they are read. grpc-js has no setting for it on a server. */
import { subscribe } from 'node:diagnostics_channel'
import type { Http2Session, Http2Stream } from 'node:http2'

/** HTTP/2 begins with 65,535 bytes, for which a client waits that sends six requests of a hundred rows at once. A stream keeps that limit. */
const windowBytes = 1_048_576

const widened = new WeakSet<Http2Session>()

/** At the first call of each connection, from Node.js 24 on. No other server of the process speaks HTTP/2. */
export const widenConnections = (): void =>
  subscribe('http2.server.stream.created', (message) => {
    const { session } = (message as { stream: Http2Stream }).stream
    if (session === undefined || session.destroyed || widened.has(session)) return
    widened.add(session)
    session.setLocalWindowSize(windowBytes)
  })
