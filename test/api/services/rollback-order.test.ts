/** Orders to roll a model back that come twice, or whose outcome Postgres did not tell. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { settleKeptRollbacks } from '../../../api/services/rollback/kept-rollbacks.ts'
import { orderRollback } from '../../../api/services/rollback/rollback-model.ts'
import { DomainError } from '../../../domain/errors.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import type { Store } from '../../../store/postgres.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { irisRow, irisSpec } from '../../support/serving/artifact.ts'
import { writeChampion } from '../../support/serving/registration.ts'
import { uniqueName } from '../../support/servers/servers.ts'
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
let model: string
let versions: string[]
beforeAll(async () => {
  fixture = await openServingFixture()
  api = await startApi(fixture)
  key = await fixture.key({ name: 'olga', role: 'operator' })
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})
/** Three versions that were champion in turn; the last one serves. */
beforeEach(async () => {
  model = uniqueName('model')
  versions = []
  for (const minor of [0, 1, 2]) versions.push(await fixture.register(irisSpec(model, minor + 1), minor))
  for (const version of versions) await writeChampion(fixture.store, model, version)
  await fixture.route(model, { proven: versions[2], standby: versions[1] })
  await until(() => api.serving.routing.find(model) !== undefined, 'the route')
})

const served = () => api.ask(model, { instances: [irisRow] }).version
const championNow = async () => (await findChampion(fixture.store, model))?.version
const order = (body: object = {}) => api.request('POST', `/v1/models/${model}/rollback`, { key, body })

it('two orders at the same moment roll one version back', async () => {
  const answers = await Promise.all([order(), order(), order()])
  const [, second, third] = versions
  for (const answer of answers)
    expect(answer).toMatchObject({ status: 200, json: { outcome: 'rolled_back', from: third, to: second } })
  expect(await championNow()).toBe(second)
})

it('an order that Postgres carried out without an answer rolls one version back', async () => {
  const [, second, third] = versions
  const [{ id, name } = { id: '', name: '' }] = (await findActiveKeys(fixture.store)).filter(
    (each) => each.name === 'olga',
  )
  /** The answer to the commit is lost, and the replica has heard of the new route before that shows. */
  const transaction: Store['transaction'] = async (work) => {
    await api.deps.store.transaction(work)
    await until(() => served() === second, 'the new route')
    throw new DomainError('postgres_unavailable', 'Postgres did not answer: Connection terminated')
  }
  const deps = { ...api.deps, store: { ...api.deps.store, transaction } }
  const actor = { ...api.deps.authentication.sessionFor(id)!.actor, name }
  const answer = await orderRollback(deps, actor, { id: uniqueName('order'), model, reason: 'it is wrong' })
  expect(answer).toMatchObject({ outcome: 'kept', from: third, to: second })
  expect(served()).toBe(second)
  await settleKeptRollbacks(api.deps)
  expect(api.serving.rollbacks.list()).toEqual([])
  expect(await championNow()).toBe(second)
  expect(served()).toBe(second)
})

it('an order about a version that does not serve is refused, and one that was carried out is confirmed', async () => {
  const [first, second, third] = versions
  expect(await order({ version: first })).toMatchObject({
    status: 409,
    json: {
      code: 'command_refused',
      detail: `${first} does not serve: the champion of ${model} is ${third}`,
    },
  })
  expect((await order({ version: third })).status).toBe(200)
  const again = await order({ version: third })
  expect(again).toMatchObject({ status: 200, json: { from: third, to: second } })
  expect(again.json['message']).toMatch(/was rolled back before/)
  expect(await championNow()).toBe(second)
})
