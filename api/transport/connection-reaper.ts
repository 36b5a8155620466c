/**
 * Sees off callers who have been too slow, a few at a time. Those who came together are late together: to close a thousand at once
 * keeps everybody else waiting for 50 ms, and a moment later they are all at the door again.
 */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export type CloseLater = (socket: Duplex, close: () => void) => void

/** For one who has been silent; who has said something when its turn comes stays. */
export function closeIfIdle(socket: Socket): () => void {
  const { bytesRead } = socket
  return () => {
    if (socket.bytesRead === bytesRead) socket.destroy()
  }
}

const everyMs = 10
/** Of those who wait to be seen off, at each turn. */
const share = 0.01

/** Each is closed once, the first of them soonest; a thousand are gone after some three seconds. */
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
    timer = waiting.size === 0 ? undefined : setTimeout(closeSome, everyMs).unref()
  }
  return (socket, close) => {
    if (!waiting.has(socket)) waiting.set(socket, close)
    timer ??= setTimeout(closeSome, everyMs).unref()
  }
}
