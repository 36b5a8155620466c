/**
 * A line to a server that can be cut in either direction without being closed: what is sent arrives nowhere, as in a partition.
 * It also counts who connects and when, so that a crowd after an outage shows.
 */
import { connect, createServer, type Socket } from 'node:net'

/** What does not arrive: what goes to the server, what comes from it, or both. */
export interface Directions {
  requests: boolean
  replies: boolean
}

export interface Link {
  /** Where the server is reached through it, on loopback. */
  port: number
  cut(directions: Directions): void
  heal(): void
  /** When each connection was asked for, by `performance.now()`. */
  opened: number[]
  close(): void
}

/** A link to Postgres. */
export interface ProxyLine extends Link {
  /** Where the database is, seen through the line. */
  url: string
}

export async function openLink(to: { host: string; port: number }): Promise<Link> {
  const pairs = new Set<{ near: Socket; far: Socket }>()
  const opened: number[] = []
  let held: Directions = { requests: false, replies: false }
  const apply = (): void => {
    for (const { near, far } of pairs) {
      if (held.requests) near.pause()
      else near.resume()
      if (held.replies) far.pause()
      else far.resume()
    }
  }
  const server = createServer((near) => {
    opened.push(performance.now())
    const far = connect(to.port, to.host)
    for (const socket of [near, far]) socket.setNoDelay(true)
    const pair = { near, far }
    pairs.add(pair)
    near.on('data', (bytes) => far.write(bytes))
    far.on('data', (bytes) => near.write(bytes))
    const end = (): void => {
      pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) socket.on('close', end).on('error', end)
    apply()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    opened,
    cut(directions) {
      held = directions
      apply()
    },
    heal() {
      held = { requests: false, replies: false }
      apply()
    },
    close() {
      server.close()
      for (const { near, far } of pairs) [near, far].forEach((socket) => socket.destroy())
    },
  }
}

export async function openProxyLine(databaseUrl: string): Promise<ProxyLine> {
  const url = new URL(databaseUrl)
  const link = await openLink({ host: url.hostname, port: Number(url.port) })
  url.hostname = '127.0.0.1'
  url.port = String(link.port)
  return { ...link, url: url.toString() }
}
