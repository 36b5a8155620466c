/** Tests what a replica says of a gateway that it cannot move, and the lease that gateways ask for. A real HAProxy is in test/interop. */
import sql from 'sql-template-tag'
import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { reportGateways } from '../../../../activities/alerts/delivery/deliver.ts'
import { listOpenAlertKeys } from '../../../../store/monitoring/alerts.ts'
import { findGateway } from '../../../../store/serving/gateways.ts'
import { issuesOfKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { laggingReplicas, listReplicaProgress } from '../../../../store/serving/replicas.ts'
import { findRouting, readServedShares } from '../../../../store/serving/routing.ts'
import {
  openServingFixture,
  replicaOfTest,
  startApi,
  threeVersions,
  until,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const setTraffic = (model: string, address: string) =>
  fixture.store.query(sql`
    update models set definition = jsonb_set(definition, '{traffic}',
      ${JSON.stringify({ gateway: 'haproxy', address, backend: 'b' })}::jsonb) where name = ${model}`)
const problemOf = async (model: string) => (await findGateway(fixture.store, model))?.problem ?? ''
const behind = async (model: string) =>
  laggingReplicas(
    await listReplicaProgress(fixture.store, model),
    (await findRouting(fixture.store, model))!.route,
  )

/** Answers each connection with the same text. */
async function answering(text: string): Promise<string> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end(text))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

it('holds a release, with the reason, an alert and no share, while the gateway cannot be reached or is none', async () => {
  const { model, canary } = await threeVersions(fixture)
  await setTraffic(model, '127.0.0.1:1')
  await fixture.route(model, canary(500), 60_000)
  const replica = await replicaOfTest(fixture)
  await until(async () => /ECONNREFUSED/.test(await problemOf(model)), 'a refused connection')
  expect(await behind(model)).toEqual([expect.stringMatching(/^the gateway 127\.0\.0\.1:1: .*ECONNREFUSED/)])
  const served = (await readServedShares(fixture.store, [model])).get(model)!
  expect([...served.shares]).toEqual([])
  await fixture.store.query(
    sql`update gateways set since = since - interval '1 minute' where model = ${model}`,
  )
  await reportGateways(fixture.store)
  const open = async () =>
    (await listOpenAlertKeys(fixture.store, ['gateway_not_following'], { model })).length
  expect(await open()).toBe(1)
  const flag = { model, serve: 'champion' as const, revision: 1 }
  const switched = async () => (await issuesOfKillSwitch(fixture.store, flag)).map(({ text }) => text)
  expect(await switched()).toContainEqual(expect.stringMatching(/^the gateway .*ECONNREFUSED/))
  // A private host that is not listed is not asked.
  await setTraffic(model, '10.1.2.3:9999')
  await until(async () => /TENURE_PRIVATE_HOSTS/.test(await problemOf(model)), 'a refused address')
  for (const [text, problem] of [
    ['HTTP/1.1 400 Bad Request\r\n\r\n', /no state of the backend b: HTTP/],
    ["Can't find backend.\n\n", /no state of the backend b: Can't find backend/],
    ['x'.repeat(2_000_000), /more than 1048576 bytes/],
  ] as const) {
    await setTraffic(model, await answering(text))
    await until(async () => problem.test(await problemOf(model)), String(problem))
  }
  // A release waits for it also when no replica owns it any more.
  await replica.stop()
  expect(await behind(model)).toEqual([expect.stringMatching(/no replica has moved its weights/)])
  await fixture.store.query(sql`update models set definition = definition - 'traffic' where name = ${model}`)
  await replicaOfTest(fixture)
  await fixture.route(model, { ...canary(0), release: undefined })
  await until(async () => (await findGateway(fixture.store, model)) === undefined, 'a forgotten gateway')
  await reportGateways(fixture.store)
  expect(await open()).toBe(0)
})

it('gives a lease to the versions that serve, until the exposure of the candidate ends', async () => {
  const { model, old, champion, candidate, canary } = await threeVersions(fixture)
  const api = await startApi(fixture)
  onTestFinished(() => api.stop())
  const key = await fixture.key({ role: 'predictor' })
  await api.follows(await fixture.route(model, canary(500), 60_000))
  const ask = async (version: string) =>
    (await api.request('get', `/v1/models/${model}/exposure/${version}`, { key })).status
  expect(await Promise.all([ask(champion), ask(candidate), ask(old)])).toEqual([200, 200, 503])
  await api.follows(await fixture.route(model, canary(500), 1))
  await until(async () => (await ask(candidate)) === 503, 'the end of the exposure')
  expect(await ask(champion)).toBe(200)
})
