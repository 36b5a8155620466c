/** Tests the limits of the prediction endpoint on real sockets, with and without the fast path. */
import { createBodyBudget, defaultBudget, type BudgetLimits } from '../../../api/http/body-budget.ts'
import { openFastPath } from '@tenure/http-front'
import { createServer, request as httpRequest, type Server } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { deflateSync, gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  createPredictEndpoint,
  defaultLimits,
  type EndpointLimits,
} from '../../../api/transport/predict-endpoint.ts'
import { readHeaders } from '../../../api/transport/exchange.ts'
import { createTargetParser } from '../../../api/transport/prediction-path.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
/** How long each prediction takes, in milliseconds. */
let busyMs = 0
const servers: Server[] = []
const body = JSON.stringify({ instances: [irisRow] })

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ role: 'predictor' })
  const route = await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture)
  await api.follows(route)
  const { predictor } = api.serving.routing.find('iris')!.complete.arms[0]!.loaded
  const { run } = predictor
  predictor.run = (...given) => {
    const end = performance.now() + busyMs
    while (performance.now() < end);
    void run(...given)
  }
})
afterEach(() => {
  busyMs = 0
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
  }
})
afterAll(async () => {
  await api.stop()
  await fixture.close()
})

/** The values of TENURE_FAST_PATH. */
let mode: 'on' | 'off' = 'on'

async function listen(
  limits: Partial<EndpointLimits & BudgetLimits>,
  refusals = new Map<string, number>(),
): Promise<number> {
  const targetOf = createTargetParser()
  const deps = { ...api.deps, bodies: createBodyBudget({ ...defaultBudget, ...limits }) }
  const endpoint = createPredictEndpoint(deps, refusals, { ...defaultLimits, ...limits })
  const server = createServer((request, response) =>
    endpoint.acceptFromNode(targetOf(request.method, request.url)!, request, response),
  )
  const handler = { ...endpoint, targetOf: (path: string) => targetOf('POST', path) }
  if (mode === 'on') openFastPath(server, handler, { headers: readHeaders })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

interface Outcome {
  status: number
  retryAfter: string | undefined
  code: string | undefined
}

function ask(
  port: number,
  headers: Record<string, string> = {},
  sent: string | Buffer = body,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const call = httpRequest(
      {
        port,
        agent: false,
        method: 'POST',
        path: '/v1/models/iris/predict',
        headers: { ...headers, authorization: `Bearer ${key}` },
      },
      (answer) => {
        let text = ''
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
        answer.on('end', () => {
          const { code } = JSON.parse(text) as { code?: string }
          resolve({ status: answer.statusCode!, retryAfter: answer.headers['retry-after'], code })
        })
      },
    )
    call.on('error', reject)
    call.end(sent)
  })
}

/** Sends this many requests at once, each on an open connection. */
async function askAtOnce(port: number, count: number, headers = ''): Promise<Outcome[]> {
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect(port, '127.0.0.1')
      await new Promise((resolve) => socket.once('connect', resolve))
      return socket
    }),
  )
  // The server has accepted them when it has served a later connection.
  await ask(port)
  busyMs = 30
  return Promise.all(
    sockets.map(
      (socket) =>
        new Promise<Outcome>((resolve) => {
          let text = ''
          socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
          socket.on('close', () =>
            resolve({
              status: Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]),
              retryAfter: /^retry-after: (.*)\r$/im.exec(text)?.[1],
              code: /"code":"(\w+)"/.exec(text)?.[1],
            }),
          )
          socket.write(
            `POST /v1/models/iris/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${key}\r\n` +
              `${headers}content-length: ${body.length}\r\n\r\n${body}`,
          )
        }),
    ),
  )
}

describe.each(['on', 'off'] as const)('with the fast path %s', (given) => {
  beforeAll(() => void (mode = given))

  describe('a request that has waited', () => {
    it('longer than the limit is refused with Retry-After; the others are served', async () => {
      const port = await listen({ maxWaitMs: 100 })
      const answers = await askAtOnce(port, 30)
      const statuses = new Set(answers.map(({ status }) => status))
      expect(statuses).toEqual(new Set([200, 503]))
      for (const { status, code, retryAfter } of answers)
        if (status === 503) expect({ code, retryAfter }).toEqual({ code: 'overloaded', retryAfter: '1' })
      busyMs = 0
      expect(await ask(port)).toMatchObject({ status: 200 })
    })

    it('longer than its deadline is refused', async () => {
      const port = await listen({})
      const answers = await askAtOnce(port, 20, 'x-deadline-ms: 60\r\n')
      busyMs = 0
      const codes = new Set(answers.map(({ status, code }) => `${status} ${code ?? ''}`))
      expect(codes).toEqual(new Set(['200 ', '504 deadline_exceeded']))
      expect(await ask(port, { 'x-deadline-ms': '1000' })).toMatchObject({ status: 200 })
    })

    it.each(['0', '-1', 'soon', ''])('with the deadline %j is refused', async (deadline) => {
      const port = await listen({})
      expect(await ask(port, { 'x-deadline-ms': deadline })).toMatchObject({
        status: 400,
        code: 'invalid_request',
      })
    })
  })

  describe('a request to a model that predicts asynchronously', () => {
    /** Holds predictions until the returned function is called. */
    function hold(): () => void {
      const { predictor } = api.serving.routing.find('iris')!.complete.arms[0]!.loaded
      const { run } = predictor
      let release = (): void => {}
      const released = new Promise<void>((resolve) => (release = resolve))
      predictor.run = async (input, rows, output, order) => {
        order!.begunMs = performance.now()
        await released
        await run(input, rows, output)
      }
      return () => {
        predictor.run = run
        release()
      }
    }

    it('is served when the prediction is there', async () => {
      const port = await listen({})
      const finish = hold()
      const answers = Promise.all([ask(port), ask(port), ask(port)])
      await until(() => api.serving.waiting().waiting === 3, 'three waiting requests')
      finish()
      expect((await answers).map(({ status }) => status)).toEqual([200, 200, 200])
    })

    it('is refused after its deadline', async () => {
      const port = await listen({})
      const finish = hold()
      expect(await ask(port, { 'x-deadline-ms': '40' })).toEqual({
        status: 504,
        code: 'deadline_exceeded',
        retryAfter: '1',
      })
      finish()
      await until(() => api.serving.waiting().waiting === 0, 'the end of it')
    })

    it('is dropped when the client disconnects, and does not count as refused', async () => {
      const refusals = new Map<string, number>()
      const port = await listen({}, refusals)
      const { abandoned } = api.serving.waiting()
      const finish = hold()
      const socket = connect(port, '127.0.0.1')
      socket.write(
        `POST /v1/models/iris/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\n` +
          `content-length: ${body.length}\r\n\r\n${body}`,
      )
      await until(() => api.serving.waiting().waiting === 1, 'the request')
      socket.destroy()
      await until(() => api.serving.waiting().abandoned === abandoned + 1, 'the disconnection')
      finish()
      await until(() => api.serving.waiting().waiting === 0, 'the end of it')
      expect(refusals.size).toBe(0)
    })
  })

  describe('a compressed body', () => {
    it.each<[string, Buffer]>([
      ['gzip', gzipSync(body)],
      ['GZIP', gzipSync(body)],
      ['deflate', deflateSync(body)],
      ['identity', Buffer.from(body)],
      ['', Buffer.from(body)],
    ])('with encoding "%s" is served', async (encoding, packed) => {
      const port = await listen({})
      expect(await ask(port, { 'content-encoding': encoding }, packed)).toMatchObject({ status: 200 })
    })

    it.each<[string, string, Buffer, object]>([
      ['with an unsupported encoding', 'br', gzipSync(body), { status: 415, code: 'unsupported_media_type' }],
      [
        'with another encoding than its header',
        'gzip',
        Buffer.from(body),
        { status: 400, code: 'invalid_request' },
      ],
      ['that is truncated', 'gzip', gzipSync(body).subarray(0, -9), { status: 400, code: 'invalid_request' }],
      [
        'that decompresses to more than the limit',
        'gzip',
        gzipSync(' '.repeat(2_000)),
        { status: 413, code: 'body_too_large' },
      ],
    ])('%s is refused', async (_name, encoding, packed, refusal) => {
      const port = await listen({ maxBytes: 1_000 })
      expect(await ask(port, { 'content-encoding': encoding }, packed)).toMatchObject(refusal)
    })

    it('is refused by a streaming route and decompressed by others', async () => {
      const headers = { 'content-encoding': 'gzip' }
      const streamed = api.routes.find(({ streaming }) => streaming === true)!
      const refused = await api.request('POST', streamed.path, { key, body: '', headers })
      expect(refused).toMatchObject({ status: 415, json: { encodings: ['identity'] } })
      expect(refused.headers.get('accept-encoding')).toBe('identity')
      const commanded = await api.request('POST', '/v1/models/iris/predict', { key, body, headers })
      expect(commanded.json['detail']).toMatch(/not valid gzip/)
    })
  })

  it.each([
    ['text/plain;charset=UTF-8', 415],
    ['application/x-www-form-urlencoded', 415],
    ['application/octet-stream', 415],
    ['application/json; charset=utf-16', 415],
    ['application/json; charset=utf-8', 200],
    ['Application/JSON', 200],
    ['application/vnd.example+json', 200],
  ])('a body of type %s gets %i', async (type, status) => {
    const port = await listen({})
    const expected = status === 200 ? { status } : { status, code: 'unsupported_media_type' }
    expect(await ask(port, { 'content-type': type })).toMatchObject(expected)
  })

  describe('incomplete bodies', () => {
    /** Sends part of a body of 100,000 bytes. */
    async function begin(port: number, bytes: number): Promise<{ socket: Socket; answer: () => string }> {
      const socket = connect(port, '127.0.0.1')
      let answer = ''
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString()))
      socket.write(
        `POST /v1/models/iris/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-length: 100000\r\n\r\n`,
      )
      // Two pieces that arrive separately, as from a slow sender.
      socket.write('x'.repeat(10))
      await new Promise((resolve) => setTimeout(resolve, 50))
      socket.write('x'.repeat(bytes - 10))
      return { socket, answer: () => answer }
    }

    it('hold a bounded number of bytes, which are released when their clients disconnect', async () => {
      const port = await listen({ maxHeldBytes: 50_000 })
      const first = await begin(port, 30_000)
      const second = await begin(port, 30_000)
      await until(() => second.answer() !== '', 'the refusal')
      expect(second.answer()).toMatch(/^HTTP\/1.1 503 /)
      expect(second.answer()).toMatch(/retry-after: 1/)
      expect(second.answer()).toMatch(/"code":"overloaded"/)
      expect(first.answer()).toBe('')
      first.socket.destroy()
      await until(async () => {
        const third = await begin(port, 30_000)
        await new Promise((resolve) => setTimeout(resolve, 100))
        third.socket.destroy()
        return third.answer() === ''
      }, 'the bytes of the first')
      expect(await ask(port)).toMatchObject({ status: 200 })
    })

    it('are refused when they exceed the limit', async () => {
      const port = await listen({ maxBytes: 20_000 })
      const { answer } = await begin(port, 30_000)
      await until(() => answer() !== '', 'the refusal')
      expect(answer()).toMatch(/^HTTP\/1.1 413 /)
      expect(answer()).toMatch(/"code":"body_too_large"/)
    })
  })

  it('a body that contains an API key is refused', async () => {
    const port = await listen({})
    for (const asked of [
      { instances: [irisRow], routing_key: key },
      { instances: [{ ...irisRow, [key]: 1 }] },
    ])
      expect(await ask(port, {}, JSON.stringify(asked))).toMatchObject({
        status: 400,
        code: 'invalid_request',
      })
    const like = { instances: [irisRow], routing_key: `${key.slice(0, 16)}_` }
    expect(await ask(port, {}, JSON.stringify(like))).toMatchObject({ status: 200 })
  })
})
