/**
 * Leaves those unread for a while who were refused because too many ask. A caller who asks again at once costs nearly as much
 * as one who is answered, so that refusing everybody quickly would leave little time for anybody; what stays in the kernel
 * costs nothing. Who waits as long as Retry-After says notices nothing of it.
 */
import type { Socket } from 'node:net'
import { retryAfterS } from '../http/problem.ts'

export interface ReadThrottle {
  /** Reads nothing more from this connection until the process is calm, or until the time in Retry-After has passed. */
  pause(socket: Socket): void
}

/** How often it looks for calm, and how many it takes up again each time: all at once would be the next crowd. */
const lookMs = 25
const resumeBatchSize = 64

export function createReadThrottle(isIdle: () => boolean): ReadThrottle {
  const resting: { socket: Socket; until: number }[] = []
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    const now = performance.now()
    const calm = isIdle() ? resumeBatchSize : 0
    const due = resting.findIndex(({ until }) => until > now)
    const several = Math.max(calm, due < 0 ? resting.length : due)
    for (const { socket } of resting.splice(0, several)) if (!socket.destroyed) socket.resume()
    if (resting.length > 0) return
    clearInterval(timer)
    timer = undefined
  }
  return {
    pause(socket) {
      // The server itself stops reading when answers pile up on a connection; it is not for this to go on then.
      if (socket.destroyed || socket.isPaused()) return
      socket.pause()
      resting.push({ socket, until: performance.now() + retryAfterS * 1_000 })
      timer ??= setInterval(look, lookMs)
    },
  }
}
