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
/** Server that is scraped and status → counter. Version 1.1.0 has those of `other`. */
let counters: Record<string, number>
let other: Record<string, number>
let warnings: string[]
let asked: string[]
let nowMs: number
let fails: boolean
let isLabelled: boolean

beforeAll(async () => {
  server = createServer((request, response) => {
    const query = new URL(request.url!, 'http://prometheus').searchParams.get('query')!
    asked.push(query)
    const labels = [...query.matchAll(/"tenure_version", "(.+?)", "", ""\)/g)]
    const result = labels.flatMap(([, tenure_version]) =>
      Object.entries(tenure_version === version ? counters : other).map(([name, count]) => {
        const [instance, code] = name.split(' ')
        const metric = { __name__: 'requests', instance, code, ...(isLabelled && { tenure_version }) }
        return { metric, value: [0, String(count)] }
      }),
    )
    response.statusCode = fails ? 503 : 200
    response.end(JSON.stringify({ status: 'success', warnings, data: { resultType: 'vector', result } }))
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
  other = {}
  warnings = []
  asked = []
  nowMs = 1_000_000
  fails = false
  isLabelled = true
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
  expect(asked).toEqual([
    'label_replace(last_over_time(requests{service="roses-v1-0-0"}[30000ms]), "tenure_version", "roses_v1.0.0", "", "")',
  ])
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

/** Looks every three seconds for this long, and returns what counts then. */
async function pass({ after, look }: ReturnType<typeof open>, ms: number) {
  for (let passed = 0; passed < ms; passed += 3_000) await after(3_000)
  return look(100)
}

it('counts a fall as a restart once it stays below for longer than settle, and nothing until then', async () => {
  const opened = open()
  await opened.after(0)
  await pass(opened, 33_000)
  expect((await pass(opened, 6_000)).requests).toBe(0)
  counters = { 'a 200': 40, 'a 500': 3 }
  expect((await pass(opened, 30_000)).requests).toBe(0)
  expect(await pass(opened, 9_000)).toMatchObject({ requests: 43, failures: 3 })
  counters = { 'a 200': 45, 'a 500': 3 }
  expect(await pass(opened, 6_000)).toMatchObject({ requests: 48, failures: 3 })
})

it('counts once what two servers of Prometheus tell in turn', async () => {
  const opened = open()
  await opened.after(0)
  await pass(opened, 36_000)
  for (let turn = 0; turn < 10; turn++) {
    counters = { 'a 200': 1_000 + turn, 'a 500': 10 }
    await pass(opened, 6_000)
    counters = { 'a 200': 990 + turn, 'a 500': 10 }
    await pass(opened, 6_000)
  }
  expect(opened.look(100).requests).toBe(9)
})

it('counts a new series of a known server wholly, one of another server from its first sight, and one that vanishes for a while once', async () => {
  const opened = open()
  await opened.after(0)
  counters = { 'a 200': 1_000, 'b 200': 500 }
  await pass(opened, 39_000)
  counters = { 'a 200': 1_000, 'a 500': 7, 'c 200': 5_000 }
  expect(await pass(opened, 6_000)).toMatchObject({ requests: 7, failures: 7 })
  counters = { 'a 200': 1_000, 'a 500': 7, 'b 200': 503, 'c 200': 5_004 }
  expect(await pass(opened, 6_000)).toMatchObject({ requests: 14, failures: 7 })
})

it('counts none of the history of a series that Prometheus has only after a time without any', async () => {
  const opened = open()
  counters = {}
  await opened.after(0)
  await pass(opened, 39_000)
  counters = { 'a 200': 50_000 }
  expect(await pass(opened, 9_000)).toMatchObject({ requests: 0, unread: undefined })
})

it('does not know the requests while the answer of Prometheus is partial', async () => {
  const opened = open()
  await opened.after(0)
  warnings = ['a store was not asked']
  expect((await pass(opened, 21_000)).unread).toMatch(/the answer has warnings: a store was not asked/)
})

it('says with the same text at each time that Prometheus has no counter of any version', async () => {
  const opened = open()
  counters = {}
  await opened.after(0)
  const { unread } = await pass(opened, 21_000)
  expect(unread).toMatch(/has no counter that metrics\.requests selects: requests{service="roses-v1-0-0"}/)
  expect((await pass(opened, 21_000)).unread).toBe(unread)
})

it('says that a version with weight has no counter once it should have had requests, and not of one without weight', async () => {
  const counts = openRequestCounts(
    { source: 'prometheus', requests: 'requests{service="$service"}', status: 'code', settleMs: 30_000 },
    { metricSources, now: () => nowMs },
  )
  const words = {
    [version]: { service: 'roses-v1-0-0' },
    'roses_v1.1.0': { service: 'roses-v1-1-0' },
  }
  const unreadAfter = async (ms: number, weight: number) => {
    let unread: string | undefined
    for (let passed = 0; passed < ms; passed += 3_000) {
      nowMs += 3_000
      const before = asked.length
      const weights = { [version]: 100 - weight, 'roses_v1.1.0': weight }
      counts.of(weights, { words, isInForce: true })
      await expect.poll(() => asked.length).toBe(before + 1)
      await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/?query=barrier`)
      asked.pop()
      unread = counts.of(weights, { words, isInForce: true })[version]!.unread
    }
    return unread
  }
  expect(await unreadAfter(60_000, 0)).toBeUndefined()
  expect(await unreadAfter(60_000, 5)).toBeUndefined()
  counters = { 'a 200': 1_189, 'a 500': 10 }
  expect(await unreadAfter(30_000, 5)).toBeUndefined()
  counters = { 'a 200': 1_190, 'a 500': 10 }
  expect(await unreadAfter(30_000, 5)).toMatch(/selects: requests{service="roses-v1-1-0"}$/)
  other = { 'a 200': 3 }
  expect(await unreadAfter(9_000, 5)).toBeUndefined()
  other = {}
  expect(await unreadAfter(30_000, 5)).toMatch(/selects: requests{service="roses-v1-1-0"}$/)
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
  await expect.poll(() => look(100).unread).toMatch(/requests of the gateway are not known: .*503/)
  fails = false
  counters = { 'a 200': 1, '': 1 }
  await after(3_000)
  await expect.poll(() => look(100).unread).toMatch(/has no label code/)
  counters = { 'a 200': 1 }
  isLabelled = false
  await after(3_000)
  await expect.poll(() => look(100).unread).toMatch(/has no label tenure_version/)
  const tulips = open('tulips')
  tulips.look(100)
  nowMs += 20_000
  await expect.poll(() => tulips.look(100).unread).toMatch(/names no tulips of the kind promql/)
})

it.each(['a"} or up{x="', 'a\\', 'a$1', 'a`', "a'", ''])(
  'asks nothing by a name that could end a selector: %j',
  async (name) => {
    for (const [each, service] of [
      [version, name],
      [name, 'roses-v1-0-0'],
    ] as const) {
      const counts = openRequestCounts(
        { source: 'prometheus', requests: 'requests{service="$service"}', status: 'code', settleMs: 30_000 },
        { metricSources, now: () => nowMs },
      )
      const look = () =>
        counts.of({ [version]: 100 }, { words: { [each]: { service } }, isInForce: true })[version]!
      look()
      nowMs += 20_000
      await expect.poll(() => look().unread).toMatch(/is no name to select counters by/)
    }
    expect(asked).toEqual([])
  },
)
