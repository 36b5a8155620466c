/** Tests the fast path in front of servers that know nothing of it: a node:http handler and a Hono app. */
import { getRequestListener } from '@hono/node-server'
import { openFastPath, type FrontOptions } from '@tenure/http-front'
import { Hono } from 'hono'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { isWhole, timeless } from './support/raw-responses.ts'
import { connectSocket, serve, until } from './support/sockets.ts'

const json = ['content-type', 'application/json']
const squareOf = (body: string): string => JSON.stringify({ square: JSON.parse(body).number ** 2 })

const handler: RequestListener = (request, response) => {
  if (request.method !== 'POST' || request.url !== '/square') return void response.writeHead(404).end('none')
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString()))
  request.on('end', () => {
    const text = squareOf(body)
    response.writeHead(200, [...json, 'content-length', String(text.length)]).end(text)
  })
}

const app = new Hono()
app.post('/square', async (context) =>
  context.body(squareOf(await context.req.text()), 200, { [json[0]!]: json[1]! }),
)

const listener = getRequestListener(app.fetch)
// Of a client that has disconnected; Hono would print it.
app.onError((_, context) => context.body(null, 500))

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Site {
  port: number
  /** Number of requests that the fast path has served. */
  served: () => number
}

async function open(server: Server, isFast: boolean, options?: FrontOptions<never>): Promise<Site> {
  let served = 0
  if (isFast) {
    const front = openFastPath(
      server,
      {
        targetOf: (path) => (path === '/square' ? squareOf : undefined),
        accept(target, exchange, body) {
          served++
          exchange.send(200, json, target(body.toString()))
        },
      },
      options,
    )
    closers.push(front.closeAll)
  }
  return { port: await serve(server), served: () => served }
}

/** Returns the responses to these packets, each sent when the one before has left. */
async function ask({ port }: Site, packets: readonly string[], answers = 1): Promise<string> {
  const line = connectSocket(port)
  for (const packet of packets) await new Promise((resolve) => line.socket.write(packet, resolve))
  await until(() => line.closed() || isWhole(line.got(), answers), 'the answers')
  return timeless(line.got())
}

const post = (length: number): string =>
  `POST /square HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`
const chunked = 'POST /square HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'

/** Status and body of each response. */
const read = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d+) [^]*?\r\n\r\n([^]*?)(?=HTTP\/1\.1 |$)/g)].map(
    ([, status, body]) => `${status} ${body}`,
  )

describe.each([
  ['a node:http handler', () => createServer(handler)],
  ['a Hono app', () => createServer((request, response) => void listener(request, response))],
])('in front of %s', (_, create) => {
  it.each([
    ['a request of its path is served', [`${post(13)}{"number":12}`], ['200 {"square":144}'], 1],
    ['a body that comes later is served', [post(13), '{"number":', '12}'], ['200 {"square":144}'], 1],
    [
      'a chunked body goes to the handler',
      [`${chunked}d\r\n{"number":12}\r\n0\r\n\r\n`],
      ['200 {"square":144}'],
      0,
    ],
    [
      'another path goes to the handler',
      ['POST /cube HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n'],
      [expect.stringMatching(/^404 /)],
      0,
    ],
    [
      'another method goes to the handler',
      ['GET /square HTTP/1.1\r\nHost: x\r\n\r\n'],
      [expect.stringMatching(/^404 /)],
      0,
    ],
  ] as [string, string[], string[], number][])('%s', async (_name, packets, answers, served) => {
    const [fast, plain] = [await open(create(), true), await open(create(), false)]
    expect(read(await ask(fast, packets))).toEqual(answers)
    expect(read(await ask(plain, packets))).toEqual(answers)
    expect(fast.served()).toBe(served)
  })

  it('a client that closes its side within a body gets the 400 of Node', async () => {
    const responseOf = async (isFast: boolean): Promise<string> => {
      const line = connectSocket((await open(create(), isFast)).port)
      line.socket.end(`${post(13)}{"number"`)
      await until(() => line.closed(), 'the end of the connection')
      return line.got()
    }
    expect(await responseOf(true)).toBe('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')
    expect(await responseOf(false)).toBe(await responseOf(true))
  })
})

it('announces no time where a server keeps its connections for ever', async () => {
  const responseOf = async (isFast: boolean): Promise<string> => {
    const server = createServer(handler)
    server.keepAliveTimeout = 0
    return ask(await open(server, isFast), [`${post(13)}{"number":12}`])
  }
  const [fast, plain] = [await responseOf(true), await responseOf(false)]
  expect(plain).toMatch(/\r\nConnection: keep-alive\r\n/)
  expect([fast, plain].map((text) => text.match(/\r\n(connection|keep-alive): .*/gi))).toEqual([
    ['\r\nConnection: keep-alive'],
    ['\r\nConnection: keep-alive'],
  ])
})

it('a header of the request is read by any name, and those that are named more quickly', async () => {
  const server = createServer(handler)
  const front = openFastPath(
    server,
    {
      targetOf: (path) => path,
      accept: (_, { headers, headerOf, send }) =>
        send(200, json, `${headers.authorization} ${headerOf('x-more')}`),
    },
    { headers: ['authorization'] },
  )
  closers.push(front.closeAll)
  const request =
    'POST / HTTP/1.1\r\nHost: x\r\nAuthorization: key\r\nX-More: a\r\nX-More: b\r\nContent-Length: 0\r\n\r\n'
  expect(await ask({ port: await serve(server), served: () => 0 }, [request])).toMatch(/\r\n\r\nkey a, b$/)
})

it('incomplete bodies beyond the budget go to the handler', async () => {
  const server = createServer(handler)
  const ends: Socket[] = []
  server.on('connection', (socket) => void ends.push(socket))
  const { port, served } = await open(server, true, { maxHeldBytes: 25 })
  const lines = Array.from({ length: 4 }, () => connectSocket(port))
  for (const { socket } of lines) socket.write(`${post(13)}{"number":`)
  await until(() => ends.filter(({ bytesRead }) => bytesRead > 0).length === 4, 'the first parts')
  for (const { socket } of lines) socket.write('12}')
  await until(() => lines.every(({ got }) => isWhole(got(), 1)), 'all answers')
  expect(lines.flatMap(({ got }) => read(got()))).toEqual(lines.map(() => '200 {"square":144}'))
  expect(served()).toBe(2)
})

it.each([
  ['a connection that is not taken', { takes: () => false }],
  ['a body in parts that is not admitted', { admit: () => undefined }],
])('%s goes to the handler', async (_, refusal) => {
  const server = createServer(handler)
  let end: Socket | undefined
  server.on('connection', (socket) => (end = socket))
  let served = 0
  const handled = { targetOf: (path: string) => path, accept: () => void served++, ...refusal }
  closers.push(openFastPath(server, handled).closeAll)
  const { socket, got } = connectSocket(await serve(server))
  socket.write(`${post(13)}{"number":`)
  await until(() => (end?.bytesRead ?? 0) > 0, 'the first part')
  socket.write('12}')
  await until(() => served > 0 || isWhole(got(), 1), 'the answer')
  expect([read(got()), served]).toEqual([['200 {"square":144}'], 0])
})
