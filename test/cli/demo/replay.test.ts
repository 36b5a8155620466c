import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createLateOutcomes, startReplay, type LiveRequest } from '../../../cli/demo/replay.ts'

interface Received {
  path: string
  body: {
    instances?: { n: number }[]
    routing_key?: string
    outcomes?: { prediction_id: string; value: number; observed_at: string }[]
  }
}

let server: Server
let url: string
let received: Received[]
/** The server's response to the prediction with this number. */
let answer: (n: number) => { status: number; body: unknown }

beforeEach(async () => {
  received = []
  answer = (n) => ({ status: 200, body: { version: 'v1', arm: 'champion', predictions: [{ id: `p${n}` }] } })
  server = createServer((request, response) => {
    void textOf(request).then((text) => {
      const body = JSON.parse(text) as Received['body']
      received.push({ path: request.url ?? '', body })
      const { status, body: answered } = body.instances
        ? answer(body.instances[0]?.n ?? 0)
        : { status: 200, body: {} }
      response.writeHead(status).end(JSON.stringify(answered))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += String(chunk)
  return text
}

const minute = 60_000
async function* recorded(count: number, knownAfterMs: number): AsyncGenerator<LiveRequest[]> {
  for (let n = 0; n < count; n += 10)
    yield Array.from({ length: Math.min(10, count - n) }, (_, index) => ({
      atMs: (n + index) * minute,
      knownAtMs: (n + index) * minute + knownAfterMs,
      routingKey: `key-${(n + index) % 3}`,
      instance: { n: n + index },
      outcome: (n + index) % 2,
    }))
}

const start = (events: AsyncIterable<LiveRequest[]>, everyNth = 1, urls = [url]) =>
  startReplay({ urls, key: 'k', model: 'm', events, pace: { requestsPerSecond: 2_000, everyNth } })

describe('the replay', () => {
  it('sends the events in order, each with its routing key', async () => {
    const replay = start(recorded(60, 0))
    await replay.ended
    await replay.stop()
    const asked = received.filter(({ path }) => path === '/v1/models/m/predict')
    expect(asked.map(({ body }) => body.instances?.[0]?.n).sort((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 60 }, (_, n) => n),
    )
    expect(asked[0]?.body.routing_key).toBe('key-0')
    expect(replay.counts().served).toMatchObject([
      { version: 'v1', arm: 'champion', requests: 60, harmed: 0 },
    ])
  })

  it('advances faster when it sends every n-th event', async () => {
    const replay = start(recorded(60, 0), 20)
    await replay.ended
    await replay.stop()
    expect(replay.counts().requests).toBe(3)
    expect(replay.nowMs()).toBe(59 * minute)
  })

  it('sends an outcome only after it became known', async () => {
    const lateMs = 300 * minute
    const replay = start(recorded(2_000, lateMs))
    await replay.ended
    await replay.stop()
    let clock = 0
    let outcomes = 0
    for (const { body } of received) {
      clock = Math.max(clock, (body.instances?.[0]?.n ?? 0) * minute)
      for (const { prediction_id, observed_at } of body.outcomes ?? []) {
        outcomes += 1
        expect(Date.parse(observed_at)).toBe(Number(prediction_id.slice(1)) * minute + lateMs)
        // The clock seen here may lag by the requests that were open at the time.
        expect(Date.parse(observed_at)).toBeLessThanOrEqual(clock + 64 * minute)
      }
    }
    expect(outcomes).toBeGreaterThan(0)
    expect(replay.counts().outcomes).toBe(outcomes)
  })

  it('waits before a moment, and continues with the first event from a moment on, wherever it was', async () => {
    const numbers = () => received.flatMap(({ body }) => body.instances?.[0]?.n ?? []).sort((a, b) => a - b)
    const pace = { requestsPerSecond: 2_000, everyNth: 7, untilMs: 20 * minute }
    const replay = startReplay({ urls: [url], key: 'k', model: 'm', events: recorded(60, 0), pace })
    await expect.poll(() => replay.nowMs()).toBe(20 * minute)
    replay.pace({ ...pace, everyNth: 1, untilMs: 22 * minute })
    await expect.poll(() => replay.nowMs()).toBe(22 * minute)
    replay.pace({ ...pace, everyNth: 1, untilMs: undefined, fromMs: 57 * minute })
    await replay.ended
    await replay.stop()
    expect(numbers()).toEqual([6, 13, 20, 21, 57, 58, 59])
  })

  it('counts failed requests by version, and other failures by code', async () => {
    answer = (n) =>
      n % 3 === 0
        ? { status: 500, body: { code: 'output_invalid', version: 'v2', arm: 'canary' } }
        : n % 3 === 1
          ? { status: 503, body: { code: 'not_ready' } }
          : { status: 200, body: { version: 'v1', arm: 'champion', predictions: [{ id: `p${n}` }] } }
    const replay = start(recorded(30, 0))
    await replay.ended
    await replay.stop()
    const { served, failures } = replay.counts()
    expect(failures).toEqual({ output_invalid: 10, not_ready: 10 })
    expect(served.find(({ arm }) => arm === 'canary')).toMatchObject({ requests: 10, harmed: 10 })
    expect(served.find(({ arm }) => arm === 'champion')).toMatchObject({ requests: 10, harmed: 0 })
  })

  it('continues during a server outage and counts the failures', async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    const replay = start(recorded(10, 0))
    await replay.ended
    await replay.stop()
    expect(replay.counts().failures).toEqual({ ECONNREFUSED: 10 })
  })

  it('stops immediately', async () => {
    const replay = startReplay({
      urls: [url],
      key: 'k',
      model: 'm',
      events: recorded(1_000_000, 0),
      pace: { requestsPerSecond: 100, everyNth: 1 },
    })
    await expect.poll(() => received.length).toBeGreaterThan(3)
    await replay.stop()
    const { requests, failures } = replay.counts()
    const predictions = received.filter(({ path }) => path.endsWith('/predict')).length
    // On a busy machine a request may time out before this process, the server, has read it.
    expect(predictions).toBeGreaterThanOrEqual(requests - (failures['timeout'] ?? 0))
    expect(predictions).toBeLessThanOrEqual(requests)
    expect(requests).toBeLessThan(1_000)
  })
})

describe('late outcomes', () => {
  it('are returned in the order in which they become known', () => {
    const late = createLateOutcomes()
    const moments = [5, 3, 9, 1, 7, 3, 8, 2]
    for (const knownAtMs of moments) late.add({ id: `p${knownAtMs}`, value: 0, knownAtMs })
    expect(late.takeKnown(4, 2).map(({ knownAtMs }) => knownAtMs)).toEqual([1, 2])
    expect(late.takeKnown(4, 10).map(({ knownAtMs }) => knownAtMs)).toEqual([3, 3])
    expect(late.takeKnown(100, 10).map(({ knownAtMs }) => knownAtMs)).toEqual([5, 7, 8, 9])
    expect(late.waiting()).toBe(0)
  })
})
