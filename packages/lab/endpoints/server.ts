/** An endpoint for the bench: answers at once, after 0.9 s (`/slow`) or never (`/silent`). Sends its port to its parent. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { instances } = JSON.parse(await text(request)) as { instances: unknown[] }
  const body = JSON.stringify({ predictions: instances.map(() => [0.7, 0.2, 0.1]) })
  if (request.url === '/silent') return
  if (request.url === '/slow') setTimeout(() => response.end(body), 900)
  else response.end(body)
}

const server = createServer((request, response) => void answer(request, response)).listen(
  0,
  '127.0.0.1',
  () => process.send?.((server.address() as AddressInfo).port),
)
process.once('disconnect', () => process.exit())
