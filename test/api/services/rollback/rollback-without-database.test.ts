/** Tests rollbacks that replicas store while Postgres is away. After the response, only replicas that it names may serve the version. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { deliverPendingRollbacks } from '../../../../api/services/rollback/rollback-without-database.ts'
import { signOrder } from '../../../../api/serving/routing/pending-rollbacks.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { openArtifacts } from '../../../../store/artifacts.ts'
import { findActiveKeys } from '../../../../store/access/api-keys.ts'
import { introduceReplica, endLease, findArtifact, renewLease } from '../../../../store/serving/replicas.ts'
import { listAlerts } from '../../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { irisRow, irisSpec } from '../../../support/serving/artifact.ts'
import { writeChampion } from '../../../support/serving/registration.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  openServingFixture,
  startApi,
  replicaOfTest,
  until,
  type ReplicaOptions,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const nowhere = 'postgres://unknown@127.0.0.1:1/nothing'
let fixture: ServingFixture
let api: TestApi
let key: string
let model: string
let second: string
let third: string
const healing: (() => void)[] = []
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ name: 'olga', role: 'operator' })
})
/** Registers three versions that were champion in turn. The last one serves, on a replica with its own disk. */
beforeEach(async () => {
  api = await startApi(fixture)
  model = uniqueName('model')
  const versions: string[] = []
  for (const minor of [0, 1, 2]) versions.push(await fixture.register(irisSpec(model, minor + 1), minor))
  ;[, second, third] = versions as [string, string, string]
  for (const version of versions) await writeChampion(fixture.store, model, version)
  await api.follows(await fixture.route(model, { proven: third, standby: second }))
  await api.serving.refresh()
})
afterEach(async () => {
  for (const heal of healing.splice(0)) heal()
  await api?.stop()
})
afterAll(() => fixture?.close())

const body = { instances: [irisRow] }
const order = (given: object = {}) =>
  api.request('POST', `/v1/models/${model}/rollback`, { key, body: given })
const championNow = async () => (await findChampion(fixture.store, model))?.version
const folder = () => join(api.stateDir, 'cache', 'rollbacks')

/** Blocks all statements of the replica, or those that match `lost`, until the returned function is called. */
function losePostgres(lost = /./): () => void {
  const { store } = api.deps
  const { query, transaction } = store
  const unanswered = () => new DomainError('postgres_unavailable', 'Postgres did not answer: cut')
  store.query = async (statement) => {
    if (lost.test(statement.sql)) throw unanswered()
    return query(statement)
  }
  if (lost.test('begin')) store.transaction = () => Promise.reject(unanswered())
  const heal = () => void Object.assign(store, { query, transaction })
  healing.push(heal)
  return heal
}

/** Starts a replica on the disk of another replica while Postgres is away. */
const startBeside = (options: ReplicaOptions = {}) =>
  replicaOfTest(fixture, { stateDir: api.stateDir, databaseUrl: nowhere, ...options })

it('a replica of another slot that starts after a rollback was stored applies it', async () => {
  const heal = losePostgres()
  const answer = await order()
  expect(answer).toMatchObject({ status: 202, json: { outcome: 'kept', from: third, to: second } })
  const other = await startBeside({ slot: '2' })
  expect(other.ask(model, body).version).toBe(second)
  heal()
  await deliverPendingRollbacks(api.deps)
  expect(await championNow()).toBe(second)
  expect(readdirSync(folder())).toEqual([])
})

it('a kept rollback is held until the route that carries it out is read and on the disk', async () => {
  const healAll = losePostgres()
  await order()
  healAll()
  const heal = losePostgres(/routing_epochs\) as epoch/)
  await deliverPendingRollbacks(api.deps).catch(() => undefined)
  expect(await championNow()).toBe(second)
  expect(api.ask(model, body).version).toBe(second)
  expect(api.serving.rollbacks.list()).toHaveLength(1)
  expect((await startBeside()).ask(model, body).version).toBe(second)
  heal()
  await deliverPendingRollbacks(api.deps)
  expect(api.serving.rollbacks.list()).toEqual([])
  expect(api.ask(model, body).version).toBe(second)
  expect((await startBeside()).ask(model, body).version).toBe(second)
})

it('a replica refuses an order about the version that it serves because of an earlier order', async () => {
  losePostgres()
  await order()
  const [found] = (await findActiveKeys(fixture.store)).filter(({ name }) => name === 'olga')
  const claim = { id: uniqueName('order'), model, version: second, by: 'olga', reason: 'also wrong' }
  const sent = signOrder(api.deps.signer, claim, { keyId: found!.id, nowMs: api.serving.wall() })
  expect(await api.request('POST', '/v1/rollback-orders', { body: sent })).toMatchObject({
    status: 409,
    json: { code: 'no_rollback_target' },
  })
  expect(api.ask(model, body).version).toBe(second)
})

it('the response names a replica that cannot store the order on its disk', async () => {
  mkdirSync(join(api.stateDir, 'cache'), { recursive: true })
  rmSync(folder(), { recursive: true, force: true })
  writeFileSync(folder(), 'a file in place of the folder')
  losePostgres()
  const { status, json } = await order()
  expect(status).toBe(202)
  const reason = 'it could not store the order on its disk: a restart brings the version back'
  expect(json['replicas']).toMatchObject([{ id: api.id, state: 'follows', reason }])
  expect(json['message']).toContain(`replica ${api.id} on test follows, but ${reason}`)
  expect(api.ask(model, body).version).toBe(second)
})

it('an order is carried out although its key has expired or was revoked meanwhile', async () => {
  const heal = losePostgres()
  await order()
  heal()
  const [found] = (await findActiveKeys(fixture.store)).filter(({ name }) => name === 'olga')
  const change = sql`update api_keys set expires_at = clock_timestamp(), revoked_at = clock_timestamp()`
  await fixture.store.query(sql`${change} where id = ${found!.id}`)
  await deliverPendingRollbacks(api.deps)
  await fixture.store.query(
    sql`update api_keys set expires_at = null, revoked_at = null where id = ${found!.id}`,
  )
  expect(await championNow()).toBe(second)
  expect(await listAlerts(fixture.store, { model })).toMatchObject([{ kind: 'champion_rolled_back' }])
})

it('an order that Postgres refuses is dropped with an alert', async () => {
  const heal = losePostgres()
  await order()
  heal()
  const [found] = (await findActiveKeys(fixture.store)).filter(({ name }) => name === 'olga')
  await fixture.store.query(sql`update api_keys set role = 'viewer' where id = ${found!.id}`)
  await deliverPendingRollbacks(api.deps)
  await fixture.store.query(sql`update api_keys set role = 'operator' where id = ${found!.id}`)
  expect(api.serving.rollbacks.list()).toEqual([])
  expect(api.ask(model, body).version).toBe(third)
  expect(await listAlerts(fixture.store, { model })).toMatchObject([
    {
      kind: 'rollback_dropped',
      severity: 'critical',
      message: expect.stringContaining(
        `The rollback of ${third} that olga ordered while Postgres was away was not carried out: the key of olga could not roll`,
      ) as string,
    },
  ])
})

it('the response names a replica that was not reached and whose lease ended a moment ago', async () => {
  const id = uniqueName('lapsed')
  const lapsed = { id, host: 'far', pid: 1, url: 'http://127.0.0.1:1', buildId: 'b' }
  await renewLease(fixture.store, { replica: lapsed, leaseMs: -1 })
  // The notification makes the other replicas read the list at once.
  await introduceReplica(fixture.store, { id, machine: id, process: id, isAlive: () => true })
  await until(() => Promise.resolve(api.serving.peers().some((peer) => peer.id === id)), 'the replica')
  losePostgres()
  const { json } = await order()
  await endLease(fixture.store, id)
  expect(json['replicas']).toContainEqual({ id, host: 'far', state: 'silent' })
  expect(json['message']).toContain(`replica ${id} on far was not reached`)
})

it('a replica that keeps an order and has lost the version to return to refuses instead of serving the other', async () => {
  losePostgres()
  await order()
  expect(api.ask(model, body).version).toBe(second)
  const { artifactDigest } = await findArtifact(fixture.store, second)
  const files = join(api.stateDir, 'cache', 'files')
  const [hex] = artifactDigest.split(':').slice(-1)
  const lost = readdirSync(files, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith(hex!))
  expect(lost).toHaveLength(1)
  rmSync(join(files, lost[0]!))
  const restarted = await startBeside({ artifacts: openArtifacts(fixture.directory()) })
  expect(() => restarted.ask(model, body)).toThrow(`the version that served ${model} was rolled back`)
})
