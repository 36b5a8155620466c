/**
 * Stops reading for a while from connections whose request was refused as overloaded. A client that retries at once costs nearly as much
 * as one that is served, while bytes that stay in the kernel cost nothing. A client that obeys `Retry-After` is not delayed.
 */
import type { Socket } from 'node:net'

export interface ReadThrottle {
  /** Reads nothing from this connection until the process is idle or the time in `Retry-After` has passed. */
  pause(socket: Socket): void
}

const intervalMs = 25
/** The number of connections resumed per interval while the process is idle: all at once would be the next overload. */
const resumeBatchSize = 64

export function createReadThrottle(isIdle: () => boolean, retryAfterMs: number): ReadThrottle {
  const paused: { socket: Socket; until: number }[] = []
  let timer: NodeJS.Timeout | undefined
  const resumeSome = (): void => {
    const now = performance.now()
    const allowed = isIdle() ? resumeBatchSize : 0
    const notDue = paused.findIndex(({ until }) => until > now)
    const count = Math.max(allowed, notDue < 0 ? paused.length : notDue)
    for (const { socket } of paused.splice(0, count)) if (!socket.destroyed) socket.resume()
    if (paused.length > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return {
    pause(socket) {
      // The server also pauses a connection whose responses are not read; the throttle must not resume that one.
      if (socket.destroyed || socket.isPaused()) return
      socket.pause()
      paused.push({ socket, until: performance.now() + retryAfterMs })
      timer ??= setInterval(resumeSome, intervalMs)
    },
  }
}
