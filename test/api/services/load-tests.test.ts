/** Tests the starts of load tests on a Temporal without a worker: what is refused, what is recorded, and what is shown meanwhile. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { commandIdOf, findStart } from '../../../store/commands.ts'
import { recordLoadTest } from '../../../store/registry/load-tests.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { temporalAddress, uniqueName } from '../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  type ServingFixture,
  type TestApi,
} from '../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let api: TestApi
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ name: 'olga', role: 'operator' })
  api = await startApi(fixture, {
    temporal: { address: temporalAddress(), namespace: 'default', controlQueue: 'no worker' },
  })
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

const start = (version: string, body: object, id?: string) =>
  api.request('POST', `/v1/versions/${version}/load-tests`, {
    key,
    body,
    ...(id !== undefined && { headers: { 'idempotency-key': id } }),
  })

async function register(perTick?: number): Promise<{ model: string; version: string }> {
  const model = uniqueName('loaded')
  const version = await fixture.register(irisSpec(model, 1), 0)
  if (perTick !== undefined)
    await fixture.store.query(sql`
      insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
      values (${model}, 'r', ${version}, 'champion', now() - interval '1 hour', 10000, 1, ${perTick})`)
  return { model, version }
}

it('a load test is started at twice the peak, once for one key, with its audit row, and shown while it runs', async () => {
  const { model, version } = await register(500)
  const id = randomUUID()
  const first = await start(version, {}, id)
  expect(first).toMatchObject({ status: 202, json: { version, rate: 100, seconds: 15 } })
  expect((await start(version, {}, id)).json).toEqual(first.json)
  const audit = await listAudit(fixture.store, { model })
  expect(audit.filter(({ detail }) => detail['command'] === 'loadTest')).toHaveLength(1)
  expect(await api.request('GET', `/v1/versions/${version}/load-test`, { key })).toMatchObject({
    status: 200,
    json: { running: true },
  })
  expect((await start(version, {}, randomUUID())).json).toMatchObject({
    code: 'command_refused',
    detail: `a load test of ${version} is running`,
  })
})

it.each<[string, number | undefined, object, RegExp]>([
  ['without a request in the last week', undefined, {}, /had no request in the last seven days/],
  ['with a rate and a factor', 500, { rate: 5, factor: 2 }, /a rate or a factor of the peak, not both/],
])('a load test %s is refused', async (_name, perTick, body, message) => {
  const { version } = await register(perTick)
  const { status, json } = await start(version, body)
  expect(status).toBe(400)
  expect(json['detail']).toMatch(message)
})

it('a load test of too high a rate is refused with what to do', async () => {
  const { version } = await register(5_000)
  expect((await start(version, { factor: 50 })).json).toMatchObject({
    code: 'invalid_request',
    detail: '25000 requests/s are more than one process is tested with: at most 20000',
    remedy: 'Give a lower factor, or the rate that one of your replicas gets.',
  })
})

it('a load test by its rate needs no peak, and its last result is shown in words', async () => {
  const { version } = await register()
  const { json } = await start(version, { rate: 7, seconds: 3 })
  const { input } = (await findStart(fixture.store, commandIdOf(String(json['id']).slice('ldt_'.length))))!
  expect(input).toMatchObject({ rate: 7, seconds: 3 })
  const at = '2026-01-01T00:00:00.000Z'
  await recordLoadTest(fixture.store, version, { id: 'ldt_x', requestedBy: 'olga', at, message: 'gone' })
  expect((await api.request('GET', `/v1/versions/${version}/load-test`, { key })).json).toMatchObject({
    last: { id: 'ldt_x' },
    text: `could not be run: gone (${at})`,
  })
})
