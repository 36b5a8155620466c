/**
 * Walks every route and every gRPC method, on sockets of a whole replica: without a valid key nothing of a body is read or held, and with a
 * key all bodies together stay within one budget. The lists come from the declared routes and from the service.
 */
import { once } from 'node:events'
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { status as codes } from '@grpc/grpc-js'
import { pino } from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { handlersOf, keylessMethods, openGrpc, type GrpcServer } from '../../api/grpc/server.ts'
import { createBodyBudget, keylessBytes } from '../../api/http/body-budget.ts'
import type { RouteDefinition } from '../../api/http/route.ts'
import { startServer, type RunningServer } from '../../api/server.ts'
import { createPredictEndpoint } from '../../api/transport/predict-endpoint.ts'
import { readConfig } from '../../temporal.config.ts'
import { irisSpec } from '../support/serving/artifact.ts'
import { connectSocket, type RawConnection } from '../../packages/http-front/test/support/sockets.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../support/serving/serving-fixture.ts'

const maxKeyBytes = 200_000
const budget = createBodyBudget({ maxHeldBytes: 500_000, maxKeyBytes, maxAddressBytes: 50_000 })
/** What a streamed body counts for, before its first byte. */
const streamBytes = 131_072
const wrongKey = `tnr_${'0'.repeat(12)}_${'0'.repeat(48)}`

let fixture: ServingFixture
let api: TestApi
let server: RunningServer
let admin: string
let other: string

beforeAll(async () => {
  fixture = await openServingFixture()
  ;[admin, other] = [await fixture.key(), await fixture.key()]
  await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture)
  const config = readConfig({ ...fixture.environment(), TENURE_GRPC_PORT: '0' })
  server = await startServer(config, pino({ level: 'silent' }), budget)
  await until(async () => (await fetch(`${server.url}/readyz`)).ok, 'a replica that is ready')
})
afterAll(async () => {
  await server?.stop('the test ends')
  await api?.stop()
  await fixture.close()
})
const isEmpty = () => until(() => budget.heldBytes() === 0, 'nothing to be held')

/** Sends the head of a request that announces a body, and the part of it that is given. */
function begin(
  { method, path }: Pick<RouteDefinition, 'method' | 'path'>,
  { key, part = '', length = 1_000 }: { key?: string | undefined; part?: string; length?: number },
): RawConnection {
  const line = connectSocket(Number(new URL(server.url).port))
  const target = path
    .replaceAll(/:name:/g, 'iris:')
    .replaceAll(':name', 'iris')
    .replaceAll(/(?<=\/):\w+/g, 'x')
  const lines = [
    `${method.toUpperCase()} ${target} HTTP/1.1`,
    'Host: localhost',
    `Content-Length: ${length}`,
    ...(key === undefined ? [] : [`Authorization: Bearer ${key}`]),
  ]
  line.socket.write(`${lines.join('\r\n')}\r\n\r\n${part}`)
  return line
}

async function statusOf(line: RawConnection): Promise<number> {
  await until(() => line.got().includes('\r\n\r\n'), 'the response')
  return Number(line.got().slice(9, 12))
}

const nameOf = ({ method, path }: RouteDefinition): string => `${method.toUpperCase()} ${path}`
const isKeyless = ({ allow }: RouteDefinition): boolean => allow === 'public'
/** The routes that read a body. */
const takers = (): RouteDefinition[] => api.routes.filter(({ method }) => method !== 'get')
describe('every route', () => {
  it('refuses a caller without a valid key when the head has come, and holds nothing', async () => {
    const keyed = api.routes.filter((route) => !isKeyless(route))
    expect(keyed.length).toBeGreaterThan(100)
    for (const key of [undefined, wrongKey])
      for (const part of ['', 'x'.repeat(999)])
        await Promise.all(
          keyed.map(async (route) => {
            const line = begin(route, { key, part })
            // A page without a session leads to the sign-in page.
            const status = await statusOf(line)
            expect([nameOf(route), status === 303 && route.page === true ? 401 : status]).toEqual([
              nameOf(route),
              401,
            ])
            line.socket.destroy()
          }),
        )
    expect(budget.peakBytes()).toBe(0)
  })

  it('that needs no key reads at most 16 KiB, and what it holds counts for the address', async () => {
    const keyless = takers().filter(isKeyless)
    expect(keyless.map(nameOf).sort()).toEqual([
      'POST /csp-reports',
      'POST /sign-in',
      'POST /v1/chat/slack',
      'POST /v1/rollback-orders',
    ])
    for (const route of keyless) {
      const large = begin(route, { length: keylessBytes + 1 })
      expect([nameOf(route), await statusOf(large)]).toEqual([nameOf(route), 413])
      const slow = Array.from({ length: 3 }, () =>
        begin(route, { length: keylessBytes, part: 'x'.repeat(keylessBytes - 1) }),
      )
      await until(() => budget.heldBytes() === 3 * (keylessBytes - 1), 'three bodies')
      const fourth = begin(route, { length: keylessBytes, part: 'x'.repeat(keylessBytes - 1) })
      expect([nameOf(route), await statusOf(fourth)]).toEqual([nameOf(route), 503])
      for (const line of slow) line.socket.destroy()
      await isEmpty()
    }
  })

  it('counts an incomplete body for its key, until the client disconnects', async () => {
    const keyed = takers().filter((route) => !isKeyless(route))
    expect(keyed.length).toBeGreaterThan(40)
    for (const route of keyed) {
      const line = begin(route, { key: admin, part: 'x'.repeat(600) })
      const expected = route.streaming === true ? [streamBytes, 600] : [600]
      await until(
        () => expected.includes(budget.heldBytes()) || line.got() !== '',
        `${nameOf(route)} to be counted`,
      )
      expect([nameOf(route), line.got()]).toEqual([nameOf(route), ''])
      line.socket.destroy()
      await isEmpty()
    }
  })

  it('beyond the share of a key gets 503 with Retry-After, and another key is served', async () => {
    const keyed = takers().filter((route) => !isKeyless(route))
    const { id } = api.deps.authentication.actorOf(`Bearer ${admin}`)
    const filler = budget.open({ keyId: id })
    filler.add(maxKeyBytes - 599)
    for (const route of keyed) {
      const line = begin(route, { key: admin, part: 'x'.repeat(600) })
      expect([nameOf(route), await statusOf(line)]).toEqual([nameOf(route), 503])
      expect(line.got()).toMatch(/retry-after: 1\r\n/i)
      line.socket.destroy()
      const served = begin(route, { key: other, part: 'x'.repeat(600) })
      await until(() => budget.heldBytes() > maxKeyBytes - 599, `${nameOf(route)} for another key`)
      served.socket.destroy()
      await until(() => budget.heldBytes() === maxKeyBytes - 599, 'its bytes to be released')
    }
    filler.release()
    await isEmpty()
  })
})

const methods = Object.keys(handlersOf({ serving: {} } as never, undefined as never))

describe('every gRPC method', () => {
  const sessions: ClientHttp2Session[] = []
  afterEach(() => {
    for (const session of sessions.splice(0)) session.destroy()
  })
  interface Call {
    stream: ClientHttp2Stream
    /** The headers and trailers that have arrived. */
    got: Record<string, string>
    closed: () => boolean
  }

  /** Sends the metadata of a call, the prefix of a message, and a part of it. */
  function call(
    port: number,
    method: string,
    {
      key,
      part = 0,
      length = 1_000,
      flag = 0,
    }: { key?: string | undefined; part?: number; length?: number; flag?: number },
  ): Call {
    const session = connect(`http://127.0.0.1:${port}`)
    sessions.push(session)
    session.on('error', () => {})
    const stream = session.request({
      ':method': 'POST',
      ':path': `/inference.GRPCInferenceService/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(flag === 1 ? { 'grpc-encoding': 'gzip' } : {}),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    })
    const got: Record<string, string> = {}
    const take = (headers: object): void => void Object.assign(got, headers)
    stream
      .on('response', take)
      .on('trailers', take)
      .on('error', () => {})
    stream.resume()
    const prefix = Buffer.alloc(5)
    prefix[0] = flag
    prefix.writeUInt32BE(length, 1)
    if (part > 0) stream.write(Buffer.concat([prefix, Buffer.alloc(part - 5)]))
    return { stream, got, closed: () => stream.closed }
  }
  const keyed = methods.filter((method) => !keylessMethods.includes(method))
  const port = (): number => server.grpcPort!

  it('refuses a caller without a valid key at its metadata, resets the call, and holds nothing', async () => {
    expect(keyed.length).toBeGreaterThan(4)
    const before = budget.peakBytes()
    for (const method of keyed)
      for (const key of [undefined, wrongKey])
        for (const part of [0, 60_000]) {
          const { got, closed, stream } = call(port(), method, { key, part, length: 4_000_000 })
          await until(closed, `${method} to be reset`)
          expect([method, got['grpc-status']]).toEqual([method, String(codes.UNAUTHENTICATED)])
          expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR)
        }
    expect(budget.peakBytes()).toBe(before)
    const unknown = call(port(), 'RepositoryModelLoad', { part: 60_000, length: 4_000_000 })
    await until(unknown.closed, 'an unknown method to be reset')
    expect(unknown.got['grpc-status']).toBe(String(codes.UNIMPLEMENTED))
    expect(budget.heldBytes()).toBe(0)
  })

  it('that needs no key reads at most 16 KiB', async () => {
    for (const method of keylessMethods) {
      const { got, closed } = call(port(), method, { part: 5, length: keylessBytes + 1 })
      await until(closed, `${method} to be reset`)
      expect([method, got['grpc-message']]).toEqual([method, expect.stringMatching(/^body_too_large/)])
      await isEmpty()
    }
  })

  it('counts an incomplete message until the call ends, also a whole one whose call stays open', async () => {
    for (const method of methods)
      for (const [part, length] of [
        [605, 1_000],
        ...(method === 'ModelStreamInfer' ? [] : [[1_005, 1_000]]),
      ]) {
        const key = keylessMethods.includes(method) ? undefined : admin
        const { stream } = call(port(), method, { key, part: part!, length: length! })
        await until(() => budget.heldBytes() === part, `${method} to be counted`)
        stream.close(constants.NGHTTP2_CANCEL)
        await isEmpty()
      }
  })

  it('counts a compressed message as what it may expand to', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000))
    for (const method of methods) {
      const key = keylessMethods.includes(method) ? undefined : admin
      const { got, closed } = call(port(), method, {
        key,
        part: bomb.byteLength + 5,
        length: bomb.byteLength,
        flag: 1,
      })
      await until(closed, `${method} to be reset`)
      expect([method, got['grpc-status']]).toEqual([method, String(codes.RESOURCE_EXHAUSTED)])
      await isEmpty()
    }
  })

  it('beyond the share of a key gets RESOURCE_EXHAUSTED with retry-after', async () => {
    const { id } = api.deps.authentication.actorOf(`Bearer ${admin}`)
    const filler = budget.open({ keyId: id })
    filler.add(maxKeyBytes - 599)
    for (const method of keyed) {
      const { got, closed } = call(port(), method, { key: admin, part: 605 })
      await until(closed, `${method} to be reset`)
      expect([method, got['grpc-status'], got['retry-after']]).toEqual([method, '8', '1'])
      expect(got['grpc-message']).toMatch(/^overloaded/)
      await until(() => budget.heldBytes() === maxKeyBytes - 599, 'its bytes to be released')
    }
    filler.release()
  })

  it('refuses a message that is not complete in time', async () => {
    const grpc: GrpcServer = await openGrpc(api.deps, {
      host: '127.0.0.1',
      port: 0,
      predict: createPredictEndpoint(api.deps, new Map()),
      withinMs: 100,
    })
    for (const method of methods)
      for (const part of method === 'ModelStreamInfer' ? [605] : [0, 605, 1_005]) {
        const key = keylessMethods.includes(method) ? undefined : admin
        const { got, closed } = call(grpc.port, method, { key, part })
        await until(closed, `${method} to be reset`)
        expect([method, part, got['grpc-status']]).toEqual([method, part, String(codes.DEADLINE_EXCEEDED)])
      }
    expect(api.deps.bodies.heldBytes()).toBe(0)
    const open = call(grpc.port, 'ModelStreamInfer', { key: admin, part: 5, length: 0 })
    await once(open.stream, 'data')
    // A stream may wait between two messages.
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(open.closed()).toBe(false)
    open.stream.close(constants.NGHTTP2_CANCEL)
    await grpc.stop(100)
  })
})
