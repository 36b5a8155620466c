/**
 * Runs servers that parse a body and return it, on the bare HTTP server and on Hono, as the floor of the comparison.
 * `node --import tsx packages/lab/serving/echo.ts node|hono` prints the port.
 */
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'

const bare: RequestListener = (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const text = JSON.stringify(
      JSON.parse((chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)).toString()),
    )
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    })
    response.end(text)
  })
}

const app = new Hono()
app.post('*', async (context) => context.json((await context.req.json()) as object))
const hono = getRequestListener(app.fetch)

const server = createServer(
  process.argv[2] === 'hono' ? (request, response) => void hono(request, response) : bare,
)
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))
