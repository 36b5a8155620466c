/** A link to a server that can be cut and restored: its users lose the server, and others do not. */
import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

export interface CuttableLink {
  /** The address of the server by way of this line. */
  url: string
  cut(): void
  mend(): void
  close(): Promise<void>
}

export interface LinkOptions {
  /** That of one direction, half a round trip. */
  delayMs?: number
  /** Once: a connection that has sent this text ends, before the server gets its last bytes or before the client gets their answer. */
  loses?: { text: RegExp; what: 'question' | 'answer' }
}

export async function openCuttableLink(
  to: string,
  { delayMs = 0, loses }: LinkOptions = {},
): Promise<CuttableLink> {
  const { hostname, port } = new URL(to)
  const open = new Set<Socket>()
  let isCut = false
  const server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(Number(port), hostname)
    let sent = ''
    near.on('data', (chunk: Buffer) => {
      if (loses === undefined) return
      sent += chunk.toString('latin1')
      if (!loses.text.test(sent)) return
      if (loses.what === 'question') far.destroy()
      else {
        far.unpipe(near)
        far.once('data', () => far.destroy()).resume()
      }
      loses = undefined
    })
    for (const [each, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(each)
      each.on('error', () => other.destroy())
      each.on('close', () => {
        open.delete(each)
        other.destroy()
      })
      if (delayMs === 0) each.pipe(other)
      else each.on('data', (chunk) => setTimeout(() => other.write(chunk), delayMs))
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(to)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  const drop = (): void => open.forEach((socket) => socket.destroy())
  return {
    url: url.toString(),
    cut() {
      isCut = true
      drop()
    },
    mend: () => void (isCut = false),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        drop()
      }),
  }
}
