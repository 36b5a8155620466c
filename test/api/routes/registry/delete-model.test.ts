/**
 * Tests the deletion of a model that serves, on two replicas with the real Postgres and Temporal: what is refused, what every replica
 * answers before and after, and that another model answers every request meanwhile.
 */
import { Client, ScheduleNotFoundError, type Connection } from '@temporalio/client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { deleteModelRows } from '../../../../store/registry/deleted-models.ts'
import { recordRemovedModels } from '../../../../store/maintenance/expected-work.ts'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
import type { ModelDefinition } from '../../../../domain/model-definition.ts'
import { scheduleId, syncSchedule } from '../../../../workflows/client/schedules.ts'
import { irisSpec } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  replicaOfTest,
  request,
  startApi,
  threeVersions,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'
import { nextRoute, writeChampion } from '../../../support/serving/registration.ts'
import { connectTemporal, temporalAddress } from '../../../support/servers/servers.ts'

let fixture: ServingFixture
let api: TestApi
let connection: Connection
let client: Client
let key: string
beforeAll(async () => {
  fixture = await openServingFixture()
  connection = await connectTemporal()
  client = new Client({ connection })
  api = await startApi(fixture, {
    temporal: { address: temporalAddress(), namespace: 'default', controlQueue: 'without-worker' },
  })
  key = await fixture.key({ role: 'admin', name: 'root' })
  await until(async () => (await api.request('GET', '/v1/models', { key })).status === 200, 'the key')
})
afterAll(async () => {
  await api.stop()
  await connection.close()
  await fixture.close()
})

const remove = (model: string, { as = key, query = `?confirm=${model}` } = {}) =>
  api.request('DELETE', `/v1/models/${model}${query}`, { key: as })
const dryRun = (model: string) => remove(model, { query: `?confirm=${model}&dry_run=true` })
const switchOff = (model: string) =>
  api.request('PUT', `/v1/kill-switches/${model}`, { key, body: { serve: 'refuse', reason: 'is deleted' } })
const auditOf = (model: string) =>
  fixture.store.query<{ action: string; detail: { rows: Record<string, number> } }>(
    sql`select action, detail from audit where model = ${model} and action = 'model.purged'`,
  )
const codeOf = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('a model that serves', () => {
  it('is deleted on every replica once its kill switch refuses, while another model answers every request', async () => {
    const { model, champion } = await threeVersions(fixture)
    const { model: other, champion: others } = await threeVersions(fixture)
    const second = await replicaOfTest(fixture)
    for (const [name, version] of [
      [model, champion],
      [other, others],
    ] as const) {
      await writeChampion(fixture.store, name, version)
      const route = await fixture.route(name, { proven: version })
      await Promise.all([api.follows(route), second.follows(route)])
    }
    await syncSchedule(
      client,
      { name: model, retrain: { everyMs: 86_400_000, catchUpMs: 60_000 } } as ModelDefinition,
      'without-worker',
    )
    const answers = { given: 0, going: true }
    const traffic = (async () => {
      for (; answers.going; answers.given++) {
        for (const replica of [api, second]) expect(replica.ask(other, request()).version).toBe(others)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()

    const first = await remove(model)
    expect(first).toMatchObject({ status: 409, json: { code: 'command_refused' } })
    expect(first.json['detail']).toMatch(/delete its model file .* then run `tenure models sync`/)
    await recordRemovedModels(fixture.store, [model])
    expect((await remove(model)).json['detail']).toBe(
      `${model} cannot be deleted yet: it serves: switch it off with \`tenure kill-switches set ${model} refuse --reason "…"\``,
    )
    await fixture.store.query(sql`
      insert into sweeps (id, model, requested_by, as_of, plan) values (${`swp ${model}`}, ${model}, 'olga', now(), '{}')`)
    await switchOff(model)
    expect((await remove(model)).json['detail']).toContain(
      `the sweep swp ${model} is in progress: cancel it with \`tenure sweeps cancel ${model}\``,
    )
    await fixture.store.query(
      sql`update sweeps set ended_at = now(), outcome = 'cancelled' where model = ${model}`,
    )
    const dry = await dryRun(model)
    expect(dry.json).toMatchObject({ model, deleted: false, issues: [], rows: { versions: 3, routing: 1 } })
    expect([api, second].map((replica) => codeOf(() => replica.ask(model, request())))).toEqual([
      'model_refused',
      'model_refused',
    ])

    const seen = new Set<unknown>()
    const deletion = remove(model)
    let isDone = false
    void deletion.then(() => (isDone = true))
    while (!isDone || [api, second].some((replica) => replica.serving.routing.isKnown(model))) {
      for (const replica of [api, second]) seen.add(codeOf(() => replica.ask(model, request())))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await deletion).json).toEqual({ model, deleted: true, rows: dry.json['rows'], issues: [] })
    // No answer of a version, at no moment.
    expect([...seen].filter((each) => each !== 'model_refused' && each !== 'model_not_found')).toEqual([])
    for (const replica of [api, second]) {
      expect(codeOf(() => replica.ask(model, request()))).toBe('model_not_found')
      expect([...replica.serving.routing.loaded()].map((loaded) => loaded.model)).not.toContain(model)
      expect(
        replica.serving.routing.remembered().routes.map((route) => (route as { model: string }).model),
      ).toEqual([other])
    }
    for (const path of [`/v1/models/${model}:predict`, `/v2/models/${model}/infer`, `/v1/predict/${model}`])
      expect([path, (await api.request('POST', path, { key, body: request() })).json['code']]).toEqual([
        path,
        path.startsWith('/v1/predict') ? 'not_found' : 'model_not_found',
      ])
    expect((await api.request('GET', `/v1/models/${model}`, { key })).status).toBe(404)
    await expect(client.schedule.getHandle(scheduleId(model)).describe()).rejects.toThrow(
      ScheduleNotFoundError,
    )
    expect(await auditOf(model)).toEqual([
      { action: 'model.purged', detail: { rows: dry.json['rows'], keys: [] } },
    ])
    expect(await verifyAudit(fixture.store)).not.toHaveProperty('breach')
    answers.going = false
    await traffic
    expect(answers.given).toBeGreaterThan(0)

    // A new model of the name begins again, and every replica acknowledges its first route.
    const next = await fixture.register(irisSpec(model, 7))
    const route = await fixture.route(model, { proven: next })
    await Promise.all([api.follows(route), second.follows(route)])
    await until(
      async () =>
        (
          await fixture.store.query(
            sql`select from routing_acknowledgements where model = ${model} and generation = 1`,
          )
        ).length === 2,
      'the acknowledgements',
    )
  })
})

it('no version answers while the replica that reads of the deletion loads one of another model', async () => {
  const { model, champion } = await threeVersions(fixture)
  const { model: other, champion: others, candidate } = await threeVersions(fixture)
  for (const [name, version] of [
    [model, champion],
    [other, others],
  ] as const)
    await api.follows(await fixture.route(name, { proven: version }))
  expect((await switchOff(model)).json['problems']).toEqual([])
  await fixture.store.transaction(async (database) => {
    await deleteModelRows(database, model)
    await nextRoute(database, other, { proven: candidate })
  })
  const seen = new Set<unknown>()
  while (api.ask(other, request()).version !== candidate) {
    seen.add(codeOf(() => api.ask(model, request())))
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect([...seen].filter((each) => each !== 'model_refused' && each !== 'model_not_found')).toEqual([])
})

it('a model that a replica could not load is unknown there after its deletion', async () => {
  const { model } = await threeVersions(fixture)
  await fixture.route(model, { proven: `${model}_v9.0.0` })
  const answerOf = () => codeOf(() => api.ask(model, request()))
  await until(() => answerOf() === 'not_ready', 'the problem')
  await recordRemovedModels(fixture.store, [model])
  expect((await switchOff(model)).status).toBe(200)
  expect((await remove(model)).json).toMatchObject({ deleted: true })
  await until(() => answerOf() === 'model_not_found', 'the end of the problem')
})

describe('the deletion of a model', () => {
  it('needs its name twice, an admin, and a key of all models', async () => {
    const { model } = await threeVersions(fixture)
    expect((await remove(model, { query: '' })).json['code']).toBe('invalid_request')
    expect((await remove(model, { query: '?confirm=other' })).json['code']).toBe('invalid_request')
    const operator = await fixture.key({ role: 'operator', name: 'olga' })
    const limited = await fixture.key({ role: 'admin', name: 'ada', models: [model] })
    await api.deps.authentication.refresh()
    for (const as of [operator, limited])
      expect((await remove(model, { as })).json).toMatchObject({ code: 'forbidden' })
    expect((await remove('nobody')).json['code']).toBe('model_not_found')
    expect((await api.request('GET', `/v1/models/${model}`, { key })).status).toBe(200)
  })

  it('is refused while a replica may serve that does not follow the kill switch', async () => {
    const { model, champion } = await threeVersions(fixture)
    const far = await replicaOfTest(fixture, { leaseMs: 300 })
    const route = await fixture.route(model, { proven: champion })
    await Promise.all([api.follows(route), far.follows(route)])
    await recordRemovedModels(fixture.store, [model])
    await far.cut()
    await switchOff(model)
    expect((await remove(model)).json['detail']).toContain(`replica ${far.id} on test`)
    await fixture.store.query(sql`delete from replicas where id = ${far.id}`)
    expect((await remove(model)).json).toMatchObject({ deleted: true })
  })
})
