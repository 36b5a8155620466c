/** Tests the routes of triggers: a webhook with its parameters, by role and model, and the list, also without Temporal. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { TriggerDefinition } from '../../../../domain/triggers/trigger.ts'
import { listRetrainings } from '../../../../store/training/retrainings.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { listWaitingFirings, refuseFiring } from '../../../../store/triggers/firings.ts'
import { syncSchedule, syncTriggers, triggersScheduleId } from '../../../../workflows/client/schedules.ts'
import { retrainWorkflowId } from '../../../../workflows/messages.ts'
import type { ModelDefinition } from '../../../../domain/model-definition.ts'
import { insertModel } from '../../../support/release/candidates.ts'
import { startCore, type Core } from '../../../support/release/core.ts'
import { releasePolicy as policy } from '../../../support/release/releases.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../../../support/servers/servers.ts'
import {
  servingFixtureOn,
  startApi,
  until,
  type ServingFixture,
  type TestApi,
} from '../../../support/serving/serving-fixture.ts'

const model = uniqueName('hooked')
const triggers: TriggerDefinition[] = [
  {
    name: 'webhook',
    kind: 'webhook',
    parameters: {
      region: { kind: 'category', values: ['eu', 'us'] },
      epochs: { kind: 'number', min: 1, max: 50, missing: 'fill' },
    },
  },
  { name: 'file', kind: 'file', everyMs: 60_000, glob: 'data/ready/*.done' },
  {
    name: 'compress',
    kind: 'promotion',
    everyMs: 60_000,
    compression: { to: 'int8', epsilon: 0.01, times: 1.5 },
  },
]
const definition = { name: model, triggers, retrain: { cron: '0 3 * * 1', catchUpMs: 1 } } as ModelDefinition

let core: Core
let fixture: ServingFixture
let api: TestApi
let without: TestApi
const keys: Record<string, string> = {}
beforeAll(async () => {
  const databaseUrl = await migratedDatabase()
  core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  const { store, config, client } = core
  fixture = servingFixtureOn({ databaseUrl, artifactRoot: config.artifactRoot })
  await insertModel(store, { model, policy, artifactRoot: config.artifactRoot })
  const more = { triggers, retrain: definition.retrain, hyperparameters: { epochs: 4 } }
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify(more)}::jsonb where name = ${model}`)
  await syncSchedule(client, definition, config.taskQueues.control)
  await syncTriggers(client, definition, config.taskQueues.control)
  // The schedule's check each minute would start what waits in this test.
  const spec = { intervals: [{ every: '365 days' as const }] }
  await client.schedule.getHandle(triggersScheduleId(model)).update((was) => ({ ...was, spec }))
  for (const [name, role, models] of [
    ['olga', 'operator', undefined],
    ['vera', 'viewer', undefined],
    ['otto', 'operator', ['another']],
  ] as const)
    keys[name] = await fixture.key({ name, role, models: models && [...models] })
  const { address, namespace } = config.temporal
  api = await startApi(fixture, { temporal: { address, namespace, controlQueue: config.taskQueues.control } })
  without = await startApi(fixture)
})
afterAll(async () => {
  const { client } = core
  await client.schedule.getHandle(triggersScheduleId(model)).delete()
  await client.schedule.getHandle(retrainWorkflowId(model)).delete()
  await api.stop()
  await without.stop()
  await fixture.close()
  await core.stop()
})

const fire = (
  parameters: object,
  {
    by = 'olga',
    trigger = 'webhook',
    of = api,
    once,
  }: { by?: string; trigger?: string; of?: TestApi; once?: string } = {},
) =>
  of.request('POST', `/v1/models/${model}/triggers/${trigger}`, {
    key: keys[by]!,
    body: { parameters },
    headers: once === undefined ? {} : { 'idempotency-key': once },
  })
const issuesOf = async (parameters: object) =>
  (await fire(parameters)).json['detail'] ?? (await fire(parameters)).json

it('fires a webhook by role and model, with the parameters that the model file declares', async () => {
  expect((await fire({ region: 'eu' }, { by: 'vera' })).status).toBe(403)
  expect((await fire({ region: 'eu' }, { by: 'otto' })).status).toBe(403)
  expect((await fire({ region: 'eu' }, { trigger: 'nothing' })).json).toMatchObject({ code: 'not_found' })
  expect((await fire({}, { trigger: 'schedule' })).json).toMatchObject({
    code: 'invalid_request',
    remedy: `Start a retraining with \`tenure retrain ${model}\`.`,
  })
  expect((await fire({}, { trigger: 'compress' })).json).toMatchObject({
    code: 'invalid_request',
    remedy: `Compress a version with \`tenure compress ${model} --to int8 --epsilon 0.01 --times 1.5\`.`,
  })
  expect(JSON.stringify(await issuesOf({}))).toContain('region is missing')
  expect(JSON.stringify(await issuesOf({ region: 'asia' }))).toContain('region is one of eu, us')
  expect(JSON.stringify(await issuesOf({ region: 'eu', epochs: 51 }))).toContain(
    'epochs is between 1 and 50, not 51',
  )
  expect(JSON.stringify(await issuesOf({ region: 'eu', units: 3 }))).toContain(
    'is not a parameter of webhook',
  )
  expect((await fire({ region: 'eu' }, { trigger: 'file' })).json).toMatchObject({ code: 'invalid_request' })
  expect(await listWaitingFirings(core.store, model)).toEqual([])
})

it('starts one retraining for a request and its repetition, with the parameters as evidence and hyperparameters', async () => {
  const once = '6f1e0f0e-52b3-4b5e-9a52-6d0a6f3d9a11'
  const first = await fire({ region: 'eu', epochs: 7 }, { once })
  expect(first).toMatchObject({ status: 202, json: { model, trigger: 'webhook' } })
  expect((await fire({ region: 'eu', epochs: 7 }, { once })).json['id']).toBe(first.json['id'])
  const started = () => listRetrainings(core.store, { model })
  await until(async () => (await started()).length > 0, 'the retraining')
  expect(await started()).toMatchObject([
    {
      reason: 'trigger',
      requestedBy: 'olga',
      dedupeKey: first.json['id'],
      overrides: { epochs: 7 },
      evidence: { region: 'eu', epochs: 7, trigger: 'webhook' },
    },
  ])
  await core.client.workflow.getHandle(retrainWorkflowId(model)).terminate('a test')
})

it('fires once for a request whose answer was lost, and its repetition', async () => {
  const { store } = without.deps
  const { transaction } = store
  store.transaction = async (work) => {
    await transaction(work)
    throw new DomainError('postgres_unavailable', 'Postgres did not answer: Connection terminated')
  }
  const ask = () => fire({ region: 'eu' }, { of: without, once: 'lost' })
  expect((await ask().finally(() => (store.transaction = transaction))).status).toBe(503)
  const { id } = (await ask()).json
  expect(await listWaitingFirings(core.store, model)).toMatchObject([{ id }])
  await refuseFiring(core.store, { id: String(id), refused: 'a test' })
})

it('keeps a request for later while Temporal is away or the triggers are paused, and lists why', async () => {
  const handle = core.client.schedule.getHandle(triggersScheduleId(model))
  expect((await fire({ region: 'us' }, { of: without })).json['message']).toBe(
    'recorded; it starts as soon as Temporal answers',
  )
  await handle.pause('the source is being moved')
  let fired = 1
  // Fires again when Temporal has not answered in time: a repetition with one key would have the answer of the first.
  await expect
    .poll(async () => {
      fired += 1
      return (await fire({ region: 'us' })).json['message']
    })
    .toContain('paused (the source is being moved)')
  expect(await listWaitingFirings(core.store, model)).toHaveLength(fired)
  const list = async (of: TestApi) =>
    (await of.request('GET', `/v1/triggers?model=${model}`, { key: keys['vera']! })).json[
      'triggers'
    ] as Record<string, unknown>[]
  await until(
    async () => (await list(api)).some(({ problem }) => String(problem).includes('paused: the source')),
    'the pause in the list',
  )
  expect(await list(api)).toMatchObject([
    { trigger: 'schedule', waits_for: '0 3 * * 1', next_at: expect.stringMatching(/T03:00/) as unknown },
    { trigger: 'webhook', waits_for: 'a request with epochs, region', message: 'fired by olga' },
    { trigger: 'file', waits_for: 'files data/ready/*.done' },
    { trigger: 'compress', waits_for: 'a promotion, to compress the version to int8' },
  ])
  expect((await list(without)).map(({ problem }) => problem)).toEqual([
    'Temporal does not answer',
    'Temporal does not answer; the last firing waits for its start',
    // A look has found why the trigger can see no files.
    expect.stringMatching(/^Temporal does not answer(; data\/ready: there is no such folder.*)?$/),
    'Temporal does not answer',
  ])
  const pages: unknown[] = []
  for (let cursor: unknown = ''; cursor !== undefined;) {
    const query = `limit=2&model=${model}${cursor === '' ? '' : `&cursor=${String(cursor)}`}`
    const { json } = await api.request('GET', `/v1/triggers?${query}`, { key: keys['vera']! })
    pages.push((json['triggers'] as { trigger: string }[]).map(({ trigger }) => trigger))
    cursor = json['next_cursor']
  }
  expect(pages).toEqual([
    ['schedule', 'webhook'],
    ['file', 'compress'],
  ])
  const wrong = await api.request('GET', '/v1/triggers?cursor=x', { key: keys['vera']! })
  expect([wrong.status, wrong.json['code']]).toEqual([400, 'invalid_request'])
  const forOthers = await api.request('GET', '/v1/triggers', { key: keys['otto']! })
  expect(forOthers.json).toEqual({ triggers: [] })
})
