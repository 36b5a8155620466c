/** Opens servers on loopback and raw connections to them. Closes all of them after each test. */
import type { Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach } from 'vitest'

export interface RawConnection {
  socket: Socket
  /** Everything received so far, one character per byte. */
  got: () => string
  closed: () => boolean
}

const servers: Server[] = []
const sockets: Socket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})

/** Starts a server and returns its port. */
export async function serve(server: Server): Promise<number> {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

export function connectSocket(port: number): RawConnection {
  const socket = connect(port, '127.0.0.1')
  sockets.push(socket)
  let text = ''
  let closed = false
  socket.setNoDelay()
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => {})
  socket.on('close', () => (closed = true))
  return { socket, got: () => text, closed: () => closed }
}

/** Waits for a condition, which the test's own limit of time bounds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + 200_000
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`${what} did not come`)
    await pause(5)
  }
}
