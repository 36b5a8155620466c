/** Tests the health responses of a replica before its application is loaded. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createStartupHealth } from '../../../api/transport/startup-health.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
let server: Server
let ending: string | undefined

beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key()
  const route = await fixture.route('iris', { proven: await fixture.register(irisSpec()) })
  api = await startApi(fixture)
  await api.follows(route)
  const health = createStartupHealth({ ...api.deps, stopping: () => ending })
  server = createServer((request, response) => {
    if (!health(request, response)) response.writeHead(418).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
afterAll(async () => {
  server.close()
  await api.stop()
  await fixture.close()
})

const ask = (path: string, init: RequestInit = {}) =>
  fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, init)

it('equals the response of the application', async () => {
  const plain = await ask('/readyz')
  expect([plain.status, plain.headers.get('content-type')]).toEqual([200, 'application/json'])
  expect(await plain.json()).toEqual({ status: 'ready' })
  const known = await ask('/readyz', { headers: { authorization: `Bearer ${key}` } })
  expect(await known.json()).toEqual((await api.request('GET', '/readyz', { key })).json)
  expect(await (await ask('/livez')).json()).toEqual((await api.request('GET', '/livez')).json)
  const unknown = await ask('/readyz', { headers: { authorization: 'Bearer tnr_0' } })
  expect(await unknown.json()).toEqual({ status: 'ready' })
})

it('is handled by the application unless the replica is ready', async () => {
  for (const [path, init] of [
    ['/readyz', { method: 'POST' }],
    ['/readyz', { method: 'HEAD' }],
    ['/readyz/', {}],
    ['/livez', { method: 'DELETE' }],
    ['/v1/models', {}],
  ] as const)
    expect((await ask(path, init)).status, path).toBe(418)
  ending = 'it ends'
  expect((await ask('/readyz')).status).toBe(418)
  ending = undefined
  expect((await ask('/readyz')).status).toBe(200)
})
