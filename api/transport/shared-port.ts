/**
 * Accepts connections on the port that the API processes of one machine share, on a socket inherited from the supervisor. A replica
 * joins when it is ready; health and metrics are read on its own port, because the kernel chooses the process on the shared one.
 */
import type { Server } from 'node:http'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { listenBacklog } from './http-server.ts'
import { adoptConnection } from './node-internals.ts'

export interface SharedListener {
  /** Accepts no more connections; resolves when the accepted ones are closed. */
  leave(): Promise<void>
}

export interface SharedOptions {
  fd: number
  isReady: () => boolean
  maxConnections: number
  /** After so long a replica joins unready: a response with the reason is better than no response. */
  maxWaitMs?: number
}

const pollMs = 10

export function joinShared(server: Server, options: SharedOptions): SharedListener {
  const { fd, isReady, maxConnections, maxWaitMs = 5_000 } = options
  // The options with which an HTTP server opens its own connections.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    adoptConnection(server, socket),
  )
  listener.maxConnections = maxConnections
  listener.on('error', (error) => server.emit('error', error))
  let left = false
  const join = async (): Promise<void> => {
    const until = performance.now() + maxWaitMs
    while (!left && !isReady() && performance.now() < until) await pause(pollMs)
    if (!left) listener.listen({ fd, backlog: listenBacklog })
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
