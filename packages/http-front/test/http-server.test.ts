/** Tests slow and idle clients on real sockets: their connections are closed and bounded, and other requests are not affected. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, it } from 'vitest'
import type { Exchange } from '../src/exchange.ts'
import { openFastPath } from '../src/fast-path.ts'
import { createHttpServer, socketLimits, type SocketLimits } from '../src/http-server.ts'
import { connectSocket, serve, until, type RawConnection } from './support/sockets.ts'

async function listen(limits: Partial<SocketLimits>, onFull = () => {}): Promise<Server> {
  const server = createHttpServer({ onFull, limits: { ...socketLimits, ...limits } })
  server.on('request', (request, response) => {
    request.resume()
    request.on('end', () => response.end('well'))
  })
  await serve(server)
  return server
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port

/** Opens a client that sends the start of a request, and then nothing or single bytes. */
function hold(port: number, beginning: string, trickles = true): RawConnection {
  const line = connectSocket(port)
  const { socket } = line
  socket.write(beginning)
  if (!trickles) return line
  const timer = setInterval(() => socket.write('a'), 50)
  socket.on('close', () => clearInterval(timer))
  return line
}

const slowHeaders = 'POST / HTTP/1.1\r\nhost: x\r\nx-slow: '
const slowBody = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n{'
const quick = 'GET / HTTP/1.1\r\nhost: x\r\n\r\n'
const complete = 'POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}'

it('slow headers, slow bodies and idle connections are closed after their timeouts; other requests are served meanwhile', async () => {
  const server = await listen({
    headersTimeout: 300,
    requestTimeout: 600,
    keepAliveTimeout: 300,
    keepAliveTimeoutBuffer: 0,
    connectionsCheckingInterval: 50,
  })
  const port = portOf(server)
  const slow = Array.from({ length: 60 }, (_, index) => hold(port, index % 2 === 0 ? slowHeaders : slowBody))
  const idle = hold(port, quick, false)
  while (!slow.every(({ closed }) => closed()) || !idle.closed())
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('well')
  for (const { got } of slow) {
    expect(got()).toMatch(/^HTTP\/1\.1 408 /)
    expect(got()).toContain('request_timeout')
  }
})

it.each(['on', 'off'])(
  'an idle connection stays open for longer than is announced, fast path %s',
  async (mode) => {
    const dial = async (keepAliveTimeoutBuffer: number): Promise<RawConnection> => {
      const server = await listen({ keepAliveTimeout: 100, keepAliveTimeoutBuffer })
      const accept = (_: string, exchange: Exchange): void => exchange.send(200, [], 'well')
      if (mode === 'on') openFastPath(server, { targetOf: (path) => path, admit: () => undefined, accept })
      return connectSocket(portOf(server))
    }
    const responses = ({ got }: RawConnection): number => got().split('well').length - 1
    const [patient, strict] = [await dial(600_000), await dial(0)]
    patient.socket.write(complete)
    await until(() => responses(patient) === 1, 'the first response')
    strict.socket.write(complete)
    await until(() => strict.closed(), 'the end of the connection that is kept as announced')
    expect(responses(strict)).toBe(1)
    patient.socket.write(complete)
    await until(() => responses(patient) === 2, 'a response after the announced time')
  },
)

it('an idle connection that sends a request before it is closed stays open', async () => {
  const server = await listen({ keepAliveTimeout: 100, keepAliveTimeoutBuffer: 0 })
  const idle = Array.from({ length: 100 }, () => hold(portOf(server), quick, false))
  await until(() => idle.filter(({ closed }) => closed()).length >= 30, 'the end of some')
  const speaker = idle[60]!
  speaker.socket.write(slowBody)
  await until(() => idle.filter(({ closed }) => closed()).length === 99, 'the end of all others')
  speaker.socket.write('a'.repeat(3_999))
  await until(() => speaker.got().split('well').length === 3, 'its second answer')
})

it('a late request that completes before its connection is closed is served', async () => {
  const server = await listen({ headersTimeout: 150, requestTimeout: 200, connectionsCheckingInterval: 50 })
  const late = Array.from({ length: 100 }, (_, place) =>
    // A request that was complete does not extend the timeout of a late one.
    hold(portOf(server), place % 2 === 0 ? slowBody : quick + slowHeaders, false),
  )
  await until(() => late.filter(({ closed }) => closed()).length >= 30, 'the end of some')
  const [body, headers] = [late[70]!, late[71]!]
  body.socket.write('a'.repeat(3_999))
  headers.socket.write('\r\ncontent-length: 0\r\n\r\n')
  await until(() => late.filter(({ closed }) => closed()).length === 98, 'the end of all others')
  expect([body.closed(), headers.closed()]).toEqual([false, false])
  expect(body.got()).toMatch(/well$/)
  expect(headers.got().split('well')).toHaveLength(3)
})

it('a late body does not corrupt a response that has started', async () => {
  const limits = { headersTimeout: 100, requestTimeout: 200, connectionsCheckingInterval: 50 }
  const server = createHttpServer({ limits: { ...socketLimits, ...limits } })
  server.on('request', (_, response) => void response.writeHead(200).write('the beginning'))
  const late = hold(await serve(server), slowBody)
  await until(() => late.closed(), 'the end of the connection')
  expect(late.got()).toMatch(/^HTTP\/1\.1 200 [^]*the beginning\r\n$/)
})

it('connections beyond the limit are rejected and reported', async () => {
  let turnedAway = 0
  const server = await listen({ maxConnections: 20 }, () => turnedAway++)
  const port = portOf(server)
  const held = Array.from({ length: 20 }, () => hold(port, slowBody))
  await until(async () => (await connectionsOf(server)) === 20, 'twenty connections')
  const late = hold(port, quick)
  await until(() => late.closed(), 'the end of the last')
  expect(late.got()).toBe('')
  expect(turnedAway).toBe(1)
  expect(held.some(({ closed }) => closed())).toBe(false)
})

const connectionsOf = (server: Server): Promise<number> =>
  new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error))),
  )
