/**
 * Proxies a connection to a server and drops either direction without closing it, as a network partition does. It counts
 * connections, so that a thundering herd after an outage shows.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** The dropped direction: to the server, from it, or both. */
export interface Directions {
  requests: boolean
  replies: boolean
}

export const cutDirections: readonly Directions[] = [
  { requests: true, replies: true },
  { requests: true, replies: false },
  { requests: false, replies: true },
]

export interface Link {
  /** Port of the proxy on loopback. */
  port: number
  cut(directions: Directions): void
  heal(): void
  /** Time of each connection request, by `performance.now()`. */
  opened: number[]
  close(): void
}

/** A link to Postgres. */
export interface ProxyLine extends Link {
  /** Database address through the proxy. */
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
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    port: (server.address() as AddressInfo).port,
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
