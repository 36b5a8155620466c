/**
 * Closes late connections a few at a time. Clients that connect together are late together; closing a thousand at once would delay all
 * other requests by 50 ms, and all clients would reconnect at the same moment.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export type CloseLater = (socket: Duplex, close: () => void) => void

/** Closes a silent connection, unless it sends something first. */
export function closeIfIdle(socket: Socket): () => void {
  const { bytesRead } = socket
  return () => {
    if (socket.bytesRead === bytesRead) socket.destroy()
  }
}

const intervalMs = 10
/** The share of the waiting connections that is closed per interval. */
const share = 0.01

/** Closes each connection once, in order; a thousand take about three seconds. */
export function createConnectionReaper(): CloseLater {
  const waiting = new Map<Duplex, () => void>()
  let timer: NodeJS.Timeout | undefined
  const closeSome = (): void => {
    let left = Math.ceil(waiting.size * share)
    for (const [socket, close] of waiting) {
      if (left-- === 0) break
      waiting.delete(socket)
      if (!socket.destroyed) close()
    }
    timer = waiting.size === 0 ? undefined : setTimeout(closeSome, intervalMs).unref()
  }
  return (socket, close) => {
    if (!waiting.has(socket)) waiting.set(socket, close)
    timer ??= setTimeout(closeSome, intervalMs).unref()
  }
}
