/** Receives messages over HTTP and rejects a body that the schema returned by `formatOf` for the path does not allow. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import type { z } from 'zod'

export interface ReceivedMessage {
  atMs: number
  path: string
  headers: IncomingHttpHeaders
  body: unknown
}

export interface Receiver {
  url: string
  received: ReceivedMessage[]
  stop(): Promise<void>
}

export async function startMessageReceiver(
  formatOf: (path: string) => z.ZodType | undefined,
): Promise<Receiver> {
  const received: ReceivedMessage[] = []
  const server = createServer((request, response) => {
    void json(request)
      .then((body) => {
        const { url: path = '', headers } = request
        const format = formatOf(path)
        if (format === undefined) return response.writeHead(404).end()
        const { error } = format.safeParse(body)
        if (error !== undefined) return response.writeHead(400).end(error.message)
        received.push({ atMs: Date.now(), path, headers, body })
        return response.writeHead(202).end('{}')
      })
      .catch((error: Error) => response.writeHead(400).end(error.message))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
