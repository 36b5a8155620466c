/** Tests commands and activities that are repeated, or sent by two users at once, on a Temporal without a worker. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { endDrill } from '../../../activities/drill/drill.ts'
import type { Deps } from '../../../activities/deps.ts'
import { activateFallback } from '../../../activities/monitor/fallback.ts'
import type { Actor } from '../../../api/auth/authentication.ts'
import { startDrill } from '../../../api/services/start-drill.ts'
import { startRelease } from '../../../api/services/start-release.ts'
import { openingState, type ReleaseState } from '../../../domain/release/state.ts'
import { findActiveKeys } from '../../../store/access/api-keys.ts'
import { listAudit } from '../../../store/audit/audit-log.ts'
import { getModel } from '../../../store/registry/models.ts'
import { findKillSwitch, writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import {
  closeDrill,
  findDrill,
  insertDrill,
  recordUnheldDrill,
  takeDrillOrder,
  setDrillVersion,
} from '../../../store/release/drills.ts'
import { endQueued, listQueued } from '../../../store/release/release-queue.ts'
import { insertRelease } from '../../../store/release/releases.ts'
import { insertSweep, insertTrial } from '../../../store/training/sweeps.ts'
import { trialWorkflowId } from '../../../workflows/messages.ts'
import { firstFacts } from '../../support/release/releases.ts'
import { irisSpec } from '../../support/serving/artifact.ts'
import { writeChampion } from '../../support/serving/registration.ts'
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
let root: Actor
beforeAll(async () => {
  fixture = await openServingFixture()
  key = await fixture.key({ name: 'root', role: 'admin' })
  api = await startApi(fixture, {
    temporal: { address: temporalAddress(), namespace: 'default', controlQueue: 'no worker' },
  })
  const [found] = await findActiveKeys(fixture.store)
  root = { ...api.deps.authentication.sessionFor(found!.id)!.actor, name: 'root' }
})
afterAll(async () => {
  await api?.stop()
  await fixture?.close()
})

async function modelWith(versions: number): Promise<{ model: string; versions: string[] }> {
  const model = uniqueName('again')
  const names = []
  for (let minor = 0; minor < versions; minor++)
    names.push(await fixture.register(irisSpec(model, minor + 1), minor))
  return { model, versions: names }
}

it('a repeated start of a drill returns the same drill', async () => {
  const { model, versions } = await modelWith(1)
  await writeChampion(fixture.store, model, versions[0]!)
  const start = (id: string) => startDrill(api.deps, root, { model }, { id })
  const id = randomUUID()
  expect(await start(id)).toEqual(await start(id))
  await expect(start(randomUUID())).rejects.toThrow(`a drill of ${model} is running already`)
})

it('the end of a drill is reported as it was stored', async () => {
  const { model } = await modelWith(1)
  const { store } = fixture
  const drill = { model, kind: 'nan', traffic: 'mirrored', requestedBy: 'root', harmBudget: 0 } as const
  const [held, unheld] = [`drl_${randomUUID()}`, `drl_${randomUUID()}`]
  await insertDrill(store, { ...drill, id: held })
  const seen = { exposed: 9, harmed: 0, evidence: {} }
  await closeDrill(store, { id: held, passed: true, message: 'it was noticed', ...seen })
  await recordUnheldDrill(store, { ...drill, id: unheld, message: 'a release is open' })
  const tell = endDrill(api.deps as unknown as Deps)
  expect(await tell({ id: held })).toEqual({ passed: true, message: 'it was noticed' })
  expect(await tell({ id: unheld })).toEqual({ passed: false, message: 'skipped: a release is open' })
})

it('a drill whose fault was not detected has no time of a detection', async () => {
  const { model, versions } = await modelWith(1)
  const { store } = fixture
  const hex = () => randomUUID().replaceAll('-', '')
  const [id, release] = [`drl_${hex()}`, `rel_${hex()}` as const]
  const drill = { id, model, kind: 'bad', traffic: 'mirrored', requestedBy: 'root', harmBudget: 0 } as const
  await insertDrill(store, drill)
  const opened = openingState({ ...firstFacts, id: release, model, version: versions[0]! }, 0)
  const state: ReleaseState = {
    ...opened,
    outcome: 'rolled_back',
    reason: 'passed all stages',
    routings: [{ stage: 'shadow', stageIndex: 0, generation: 1, shareBp: 10_000, startedMs: 1_000 }],
    rollbackResult: { decidedMs: 2_000, acknowledgedMs: 3_000 } as ReleaseState['rollbackResult'],
  }
  await insertRelease(store, { state, workflowId: `release/${model}`, runId: 'run' })
  await setDrillVersion(store, { id, version: versions[0]! })
  await takeDrillOrder(store, { id, model, releaseId: release })
  const { passed } = await endDrill(api.deps as unknown as Deps)({ id })
  expect(passed).toBe(false)
  const { beganAt, detectedAt, recoveredAt } = (await findDrill(store, id))!
  expect([beganAt, detectedAt, recoveredAt]).toEqual(['1970-01-01T00:00:01.000Z', undefined, undefined])
})

it('a release that was queued is not queued again when its turn has come', async () => {
  const { model, versions } = await modelWith(3)
  const [open, next, third] = versions as [string, string, string]
  const workflowId = `release/${model}`
  const state = openingState({ ...firstFacts, id: `rel_${model}`, model, version: open }, 0)
  await insertRelease(fixture.store, { state, workflowId, runId: 'run' })
  const start = (id: string) => startRelease.run(api.deps, root, { model, version: next }, { id })
  // Its workflow is running.
  const { temporal } = api.deps
  await temporal.call(5_000, (client) =>
    client.workflow.start('release', { workflowId, taskQueue: 'no worker', args: [{ model }] }),
  )
  const id = randomUUID()
  const { queueId } = (await start(id)) as { queueId: string }
  await endQueued(fixture.store, { id: queueId, state: 'started', message: 'its turn' })
  expect(await start(id)).toMatchObject({ queueId, state: 'started' })
  expect(await listQueued(fixture.store, { model })).toHaveLength(1)
  // A start names the queued release that it replaces, and what the gate has found.
  await start(randomUUID())
  const report = { needsPerson: true, reasons: [{ code: 'too_good', message: 'auc rose by 0.4' }] }
  await fixture.store.query(sql`
    update evaluations set report = ${JSON.stringify(report)}
    where id = (select evaluation_id from versions where version = ${third})`)
  const other = { id: randomUUID() }
  expect(await startRelease.run(api.deps, root, { model, version: third }, other)).toMatchObject({
    version: third,
    message: expect.stringContaining(
      `${third} is queued; it replaces ${next}, which root had queued; the gate warns: auc rose by 0.4`,
    ),
  })
})

it('the cancellation of a sweep that was ended from outside does not reach the next sweep', async () => {
  const { model } = await modelWith(1)
  const sweep = { model, requestedBy: 'root', asOf: new Date().toISOString() }
  const ids = [`swp_${randomUUID()}`, `swp_${randomUUID()}`]
  for (const id of ids)
    await insertSweep(fixture.store, { id, ...sweep, plan: { candidates: [], parallel: 1 } })
  const { temporal } = api.deps
  await temporal.call(5_000, (client) =>
    client.workflow.start('sweep', {
      workflowId: `sweep/${model}`,
      taskQueue: 'no worker',
      args: [{ model }],
    }),
  )
  const cancel = (id: string) => api.request('POST', `/v1/sweeps/${id}/cancel`, { key })
  expect(await cancel(ids[0]!)).toMatchObject({
    status: 409,
    json: {
      code: 'command_refused',
      detail: expect.stringContaining(`${ids[1]} came after it`) as string,
    },
  })
  expect((await cancel(ids[1]!)).status).toBe(202)
  expect(await listAudit(fixture.store, { model })).toContainEqual(
    expect.objectContaining({ action: 'sweep.cancelled', actor: 'root', subject: ids[1] }),
  )
})

it('the cancellation of a trial is in the audit log', async () => {
  const { model } = await modelWith(1)
  const trial = { model, requestedBy: 'root', asOf: new Date().toISOString(), overrides: {} }
  const id = `try_${randomUUID()}`
  await insertTrial(fixture.store, { id, ...trial, runId: id })
  await api.deps.temporal.call(5_000, (client) =>
    client.workflow.start('trial', { workflowId: trialWorkflowId(id), taskQueue: 'no worker' }),
  )
  expect((await api.request('POST', `/v1/trials/${id}/cancel`, { key })).status).toBe(202)
  expect(await listAudit(fixture.store, { model })).toContainEqual(
    expect.objectContaining({ action: 'trial.cancelled', actor: 'root', subject: id }),
  )
})

it('a kill switch that was set in the meantime is not replaced, by a user or by a monitor', async () => {
  const { model, versions } = await modelWith(1)
  await writeChampion(fixture.store, model, versions[0]!)
  const put = (body: object) =>
    api.request('PUT', `/v1/kill-switches/${model}`, { key, body: { reason: 'r', ...body } })
  const { store } = fixture
  expect((await put({ serve: 'champion', revision: 0 })).status).toBe(200)
  expect((await put({ serve: 'refuse' })).status).toBe(200)
  expect(await put({ serve: 'normal', revision: 1 })).toMatchObject({
    status: 409,
    json: { detail: expect.stringContaining(`of ${model} has changed: root has set refuse at `) as string },
  })
  expect((await put({ serve: 'normal', revision: 2 })).status).toBe(200)
  const { definition } = await getModel(store, model)
  const fallback = { kind: 'answer', outputs: [1], automatic: true } as never
  const transaction: typeof store.transaction = async (work) => {
    await writeKillSwitch(store, { model, serve: 'champion', reason: 'by hand', actor: 'olga' })
    return store.transaction(work)
  }
  const late = { store: { ...store, transaction }, log: api.deps.log }
  const broken = { definition: { ...definition, fallback }, champion: versions[0]!, reason: 'it fails' }
  expect(await activateFallback(late, broken)).toBe(false)
  expect(await findKillSwitch(store, model)).toMatchObject({ serve: 'champion', actor: 'olga' })
})

it('two concurrent applies of one plan apply it once', async () => {
  const made = await api.request('POST', '/v1/keys', { key, body: { name: 'ada', role: 'viewer' } })
  expect(made.status).toBe(201)
  const change = { kind: 'key', name: 'ada', before: { role: 'viewer' }, after: { role: 'operator' } }
  const apply = () => api.request('POST', '/v1/state', { key, body: { reason: 'a plan', changes: [change] } })
  const answers = await Promise.all([apply(), apply(), apply()])
  const refused = answers.filter(({ json }) => json['code'] === 'plan_stale')
  expect([answers.filter(({ status }) => status === 200).length, refused.length]).toEqual([1, 2])
})
