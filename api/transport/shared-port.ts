/**
 * The port that the API processes of one machine share, handed down by the process that started them. Each has a port of
 * its own beside it: there it tells how it is, and there its metrics are read, because nobody can know which process answers
 * on the shared one. A replica joins only when it is ready, so that no caller meets one that still reads its routes.
 */
import type { Server } from 'node:http'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'

export interface SharedListener {
  /** Takes no more connections; resolves when those it has taken are closed. */
  leave(): Promise<void>
}

export interface SharedOptions {
  fd: number
  isReady: () => boolean
  maxConnections: number
  /** After so long a replica that is not ready joins all the same: an answer that says why is better than none. */
  patienceMs?: number
}

const pollMs = 10
/** Connections that wait in the kernel while every process is busy or away. */
const backlog = 4_096

export function joinShared(server: Server, options: SharedOptions): SharedListener {
  const { fd, isReady, maxConnections, patienceMs = 5_000 } = options
  // As the server's own connections are opened; it takes them over with everything that it limits.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    server.emit('connection', socket),
  )
  listener.maxConnections = maxConnections
  let left = false
  const join = async (): Promise<void> => {
    const until = performance.now() + patienceMs
    while (!left && !isReady() && performance.now() < until) await pause(pollMs)
    if (!left) listener.listen({ fd, backlog })
  }
  const joined = join()
  return {
    async leave() {
      left = true
      await joined
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
