/** Proxies connections to a server. Tests cut and restore the link: its users lose the server, other processes do not. */
import { connect, createServer, type Socket } from 'node:net'
import type { AddressInfo } from 'node:net'

export interface CuttableLink {
  /** The server's address through this link. */
  url: string
  cut(): void
  mend(): void
  close(): Promise<void>
}

export interface LinkOptions {
  /** Delay of one direction in milliseconds: half a round trip. */
  delayMs?: number
  /**
   * Once: a connection that has sent this text is closed, either before the server gets the last bytes or before the client gets the
   * response.
   */
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
