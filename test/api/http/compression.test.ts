/** Tests that responses of the web framework are compressed where the client accepts it, where it is safe and where it saves bytes. */
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { once } from 'node:events'
import { createServer, request, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync, inflateSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { useMiddleware } from '../../../api/app.ts'

const issues = Array.from({ length: 200 }, (_, at) => ({ path: `/instances/${at}`, issue: 'not a number' }))
const texts: Readonly<Record<string, { type: string; text: string; status?: number }>> = {
  '/large': { type: 'application/json', text: JSON.stringify({ issues }) },
  '/problem': {
    type: 'application/problem+json',
    text: JSON.stringify({ status: 400, code: 'invalid_request', issues }),
    status: 400,
  },
  '/metrics': { type: 'text/plain; version=0.0.4', text: 'tenure_predictions_total 1\n'.repeat(100) },
  '/small': { type: 'application/json', text: JSON.stringify({ text: 'x'.repeat(900) }) },
  '/page': { type: 'text/html; charset=utf-8', text: `<p>${'a page with a token '.repeat(100)}</p>` },
  '/file': { type: 'application/octet-stream', text: 'bytes'.repeat(1_000) },
}

let server: Server
beforeAll(async () => {
  const app = new Hono()
  useMiddleware(app)
  for (const [path, { type, text, status = 200 }] of Object.entries(texts))
    app.get(path, () => {
      const headers = { 'content-type': type, 'content-length': String(Buffer.byteLength(text)) }
      return new Response(text, { status, headers })
    })
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false })
  server = createServer((incoming, outgoing) => void listener(incoming, outgoing))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => server.close())

interface Received {
  status?: number
  headers: IncomingHttpHeaders
  bytes: Buffer
}

const ask = (path: string, encodings?: string, method = 'GET'): Promise<Received> =>
  new Promise((resolve, reject) => {
    const { port } = server.address() as AddressInfo
    const headers = encodings === undefined ? {} : { 'accept-encoding': encodings }
    request({ host: '127.0.0.1', port, path, method, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, bytes: Buffer.concat(chunks) })
      })
      response.on('error', reject)
    })
      .on('error', reject)
      .end()
  })

describe.each(['/large', '/problem', '/metrics'])('the large response %s', (path) => {
  const { text, status = 200 } = texts[path]!

  it.each([
    ['gzip', 'gzip', gunzipSync],
    ['deflate', 'deflate', inflateSync],
    ['br, gzip', 'gzip', gunzipSync],
    ['br;q=1, gzip;q=0.5', 'gzip', gunzipSync],
    ['gzip;q=0, deflate', 'deflate', inflateSync],
    ['*', 'gzip', gunzipSync],
  ])('is compressed for a caller that accepts %s', async (accepted, encoding, decode) => {
    const received = await ask(path, accepted)
    expect(received).toMatchObject({
      status,
      headers: { 'content-encoding': encoding, vary: 'Accept-Encoding' },
    })
    expect(decode(received.bytes).toString()).toBe(text)
    expect(received.bytes.byteLength).toBeLessThan(text.length / 2)
    // `Content-Length` is the number of bytes sent, or absent.
    expect([undefined, String(received.bytes.byteLength)]).toContain(received.headers['content-length'])
  })

  it.each([undefined, 'identity', 'br', 'gzip;q=0', 'zstd, br'])(
    'is plain for a caller that accepts %s, and caches are told that it may differ',
    async (accepted) => {
      const { headers, bytes } = await ask(path, accepted)
      expect(headers).not.toHaveProperty('content-encoding')
      expect(headers).toMatchObject({ vary: 'Accept-Encoding', 'content-length': String(text.length) })
      expect(bytes.toString()).toBe(text)
    },
  )

  it('has no body and no encoding for HEAD', async () => {
    const { status: found, headers, bytes } = await ask(path, 'gzip', 'HEAD')
    expect(found).toBe(status)
    expect(bytes).toHaveLength(0)
    expect(headers).not.toHaveProperty('content-encoding')
    expect(headers['content-length']).toBe(String(text.length))
  })
})

it.each([
  ['a response below 1 kB', '/small'],
  // Its compressed length would reveal the token of its forms (BREACH).
  ['a page', '/page'],
  ['a file that is packed already', '/file'],
])('%s is not compressed', async (_what, path) => {
  const { headers, bytes } = await ask(path, 'gzip, deflate, br')
  expect(headers).not.toHaveProperty('content-encoding')
  expect(bytes.toString()).toBe(texts[path]!.text)
})
