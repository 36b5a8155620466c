/** Tests what counts of the counters that Prometheus has of a gateway, with a stand-in that answers its query API. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { openRequestCounts } from '../../../store/gateways/request-counts.ts'

const folder = mkdtempSync(join(tmpdir(), 'tenure-counts-'))
const metricSources = join(folder, 'metric-sources.json')
const version = 'roses_v1.0.0'
let server: Server
/** Pod and status → counter. */
let counters: Record<string, number>
let asked: string[]
let nowMs: number
let fails: boolean

beforeAll(async () => {
  server = createServer((request, response) => {
    const query = new URL(request.url!, 'http://prometheus').searchParams.get('query')!
    asked.push(query)
    const result = Object.entries(counters).map(([name, count]) => {
      const [pod, code] = name.split(' ')
      return { metric: { __name__: 'requests', pod, code }, value: [0, String(count)] }
    })
    response.statusCode = fails ? 503 : 200
    response.end(JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFileSync(metricSources, JSON.stringify({ prometheus: { kind: 'promql', url } }))
})
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true })
})
beforeEach(() => {
  counters = { 'a 200': 1_000, 'a 500': 10 }
  asked = []
  nowMs = 1_000_000
  fails = false
})

function open(source = 'prometheus') {
  const counts = openRequestCounts(
    { source, requests: 'requests{service="$service"}', status: 'code', settleMs: 30_000 },
    { metricSources, now: () => nowMs },
  )
  const look = (weight: number, isInForce = true) =>
    counts.of({ [version]: weight }, { words: { [version]: { service: 'roses-v1-0-0' } }, isInForce })[
      version
    ]!
  return {
    look,
    /** Passes time, and looks until Prometheus has been asked and has answered. */
    async after(ms: number, weight = 100, isInForce = true) {
      nowMs += ms
      const before = asked.length
      look(weight, isInForce)
      await expect.poll(() => asked.length).toBe(before + 1)
      // What it has answered is taken in, or is not, before the next answer to anything.
      await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?query=barrier`)
      asked.pop()
      await expect.poll(() => look(weight, isInForce)).toBeDefined()
      return look(weight, isInForce)
    },
  }
}

it('counts from the first reading of weights that have settled, by status', async () => {
  const { after } = open()
  expect(await after(0)).toMatchObject({ requests: 0, failures: 0, unread: undefined })
  expect(asked).toEqual(['last_over_time(requests{service="roses-v1-0-0"}[10m])'])
  counters = { 'a 200': 1_100, 'a 500': 20 }
  // Of the former weights.
  expect(await after(29_999)).toMatchObject({ requests: 0, failures: 0 })
  counters = { 'a 200': 1_200, 'a 500': 30 }
  await after(3_001)
  counters = { 'a 200': 1_250, 'a 500': 37 }
  await after(3_000)
  await expect.poll(async () => (await after(3_000)).requests).toBe(57)
  expect((await after(3_000)).failures).toBe(7)
})

it('counts a series that begins anew from 0, one that is new wholly, and one that vanishes for a while once', async () => {
  const { after, look } = open()
  await after(0)
  counters = { 'a 200': 1_000, 'b 200': 500 }
  await after(31_000)
  await after(3_000)
  expect(look(100).requests).toBe(0)
  counters = { 'a 200': 40, 'c 200': 5 }
  await after(3_000)
  await expect.poll(() => look(100).requests).toBe(45)
  counters = { 'a 200': 40, 'b 200': 503, 'c 200': 5 }
  await after(3_000)
  await expect.poll(() => look(100).requests).toBe(48)
})

it('begins anew with other weights, and while the gateway does not serve by them', async () => {
  const { after, look } = open()
  await after(0)
  await after(31_000)
  counters = { 'a 200': 1_100 }
  await after(3_000)
  await expect.poll(() => look(100).requests).toBe(100)
  const { sinceMs } = look(100)
  expect(look(95)).toMatchObject({ requests: 0, sinceMs: nowMs })
  expect(look(95).sinceMs).toBeGreaterThan(sinceMs!)
  await after(31_000, 95)
  await after(3_000, 95)
  counters = { 'a 200': 1_130 }
  await after(3_000, 95)
  await expect.poll(() => look(95).requests).toBe(30)
  expect(look(95, false).requests).toBe(0)
})

it('says why Prometheus gives no counters', async () => {
  const { after, look } = open()
  await after(0)
  fails = true
  await after(16_000)
  await expect.poll(() => look(100).unread).toMatch(/has not told its counters for 16 s: .*503/)
  fails = false
  counters = { 'a 200': 1, '': 1 }
  await after(3_000)
  await expect.poll(() => look(100).unread).toMatch(/has no label code/)
  const other = open('tulips')
  other.look(100)
  nowMs += 20_000
  await expect.poll(() => other.look(100).unread).toMatch(/names no tulips of the kind promql/)
})
