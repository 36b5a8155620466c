/** Passes each connection to the next server that accepts it, like a load balancer in front of the frontends of a Temporal cluster. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface TcpBalancer {
  address: string
  close(): Promise<void>
}

export async function openTcpBalancer(ports: readonly number[]): Promise<TcpBalancer> {
  const open = new Set<Socket>()
  let turn = 0
  const server = createServer((near) => {
    near.on('error', () => {})
    open.add(near.on('close', () => open.delete(near)))
    const first = turn++
    const attempt = (tries: number): void => {
      if (tries === ports.length) return void near.destroy()
      const far = connect(ports[(first + tries) % ports.length]!, '127.0.0.1')
      const next = () => attempt(tries + 1)
      far.once('error', next).once('connect', () => {
        far.off('error', next).on('error', () => near.destroy())
        far.on('close', () => near.destroy())
        near.on('close', () => far.destroy())
        near.pipe(far).pipe(near)
      })
    }
    attempt(0)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        open.forEach((socket) => socket.destroy())
      }),
  }
}
