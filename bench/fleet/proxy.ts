/** A line to Postgres that can be cut in either direction without being closed: what is sent arrives nowhere, as in a partition. */
import { connect, createServer, type Socket } from 'node:net'

export interface Line {
  /** Where the database is, seen through the line. */
  url: string
  /** Holds back what goes to the database, what comes from it, or both. */
  cut(directions: { requests: boolean; replies: boolean }): void
  heal(): void
  close(): void
}

export async function openLine(databaseUrl: string): Promise<Line> {
  const { hostname, port } = new URL(databaseUrl)
  const pairs = new Set<{ near: Socket; far: Socket }>()
  let held = { requests: false, replies: false }
  const apply = (): void => {
    for (const { near, far } of pairs) {
      if (held.requests) near.pause()
      else near.resume()
      if (held.replies) far.pause()
      else far.resume()
    }
  }
  const server = createServer((near) => {
    const far = connect(Number(port), hostname)
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
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String(typeof address === 'object' && address !== null ? address.port : 0)
  return {
    url: url.toString(),
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
