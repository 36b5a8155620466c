/**
 * Accepts connections on the port that the API processes of one machine share, on a socket inherited from the supervisor. A replica joins
 * when it is ready. Health and metrics are read on the replica's own port, because the kernel chooses the process on the shared port. After
 * its supervisor is killed, a replica keeps serving and offers the socket to the next supervisor, so that no connection is refused. A
 * replica ends itself when no supervisor knows it.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import type { Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { adoptConnection, listenBacklog, sendListener } from '@tenure/http-front'
import { parseJson } from '../../domain/parse-json.ts'

export interface SharedListener {
  /** Stops accepting connections; resolves when the accepted ones are closed. */
  leave(): Promise<void>
}

export interface SharedOptions {
  fd: number
  isReady: () => boolean
  maxConnections: number
  /** After this time a replica joins although it is not ready: a response with the reason is better than none. */
  maxWaitMs?: number
  /** The file that the supervisor holds, beside which this replica offers the port to the next supervisor, and the index of the replica. */
  supervisor?: string
  slot?: string
}

const pollMs = 10

export function joinShared(server: HttpServer, options: SharedOptions): SharedListener {
  const { fd, isReady, maxConnections, maxWaitMs = 5_000, supervisor, slot = '1' } = options
  // The same options as a Node HTTP server uses to accept connections.
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    adoptConnection(server, socket),
  )
  listener.maxConnections = maxConnections
  listener.on('error', (error) => server.emit('error', error))
  let left = false
  let onLeave: (() => void) | undefined
  if (supervisor !== undefined)
    listener.once('listening', () => {
      const report = (error: Error) => server.emit('error', error)
      onLeave = offerListener(listener, offerPath(supervisor, slot), report)
    })
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
      onLeave?.()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

/**
 * Accepts connections also on a port that the replicas of a killed supervisor may still hold, as soon as they have ended. There this
 * replica's metrics are read. Returns a function that stops accepting.
 */
export function listenWhenFree(
  server: HttpServer,
  { host, port, maxConnections }: { host: string; port: number; maxConnections: number },
): () => void {
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
    adoptConnection(server, socket),
  )
  listener.maxConnections = maxConnections
  let later: NodeJS.Timeout | undefined
  const listen = (): void => void listener.listen({ host, port, backlog: listenBacklog })
  listener.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EADDRINUSE') later = setTimeout(listen, heldMs).unref()
    else server.emit('error', error)
  })
  listen()
  return () => {
    clearTimeout(later)
    listener.close()
  }
}

const heldMs = 200

/**
 * Sends the listening socket to every client that connects to `path`, in a directory that only this user can enter. Returns a function that
 * ends the offer.
 */
export function offerListener(listener: Server, path: string, onError: (error: Error) => void): () => void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  rmSync(path, { force: true })
  const offer = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', onError)
    sendListener(listener, socket)
  })
  offer.on('error', onError).listen(path).unref()
  return () => void offer.close()
}

/** Returns the path of the Unix socket at which a replica offers its listener. `supervisor`: the file that its supervisor holds. */
export const offerPath = (supervisor: string, slot: string): string =>
  join(dirname(supervisor), 'handover', `${slot}.sock`)

const lookMs = 2_000

/**
 * Calls `end` when the supervisor was killed and its file fails to name this process twice in a row. Once is not enough, because the file
 * is missing for a moment while it is replaced.
 */
export function endWhenForgotten(supervisor: string | undefined, end: () => void): void {
  if (supervisor === undefined) return
  const parent = process.ppid
  let missed = 0
  setInterval(() => {
    if (process.ppid === parent || isNamed(supervisor)) missed = 0
    else if (++missed === 2) end()
  }, lookMs).unref()
}

function isNamed(supervisor: string): boolean {
  try {
    const record = parseJson<{ groups?: { pid?: number }[] }>(readFileSync(supervisor, 'utf8'))
    return record?.groups?.some(({ pid }) => pid === process.pid) === true
  } catch {
    return false
  }
}
