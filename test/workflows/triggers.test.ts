/** Tests triggers on the real Temporal and Postgres: new data starts one retraining, through kills and unavailable sources. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ActivityLog } from '../../activities/deps.ts'
import { findOpenTriggerAlerts, reportUnreadable } from '../../activities/triggers/report.ts'
import type { TriggerDefinition } from '../../domain/triggers/trigger.ts'
import { listAlerts } from '../../store/monitoring/alerts.ts'
import { closeRetraining, listRetrainings } from '../../store/training/retrainings.ts'
import { findFiring } from '../../store/triggers/firings.ts'
import { projectFolder } from '../../temporal.config.ts'
import { syncTriggers, triggersScheduleId } from '../../workflows/client/schedules.ts'
import { retrainWorkflowId } from '../../workflows/messages.ts'
import type { FireTriggersOutcome } from '../../workflows/triggers/messages.ts'
import { insertModel } from '../support/release/candidates.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { startInstrumentedWorker, writeBundle } from '../support/release/instrumented-workers.ts'
import type { KillPoint } from '../support/release/kill-point.ts'
import { releasePolicy as policy } from '../support/release/releases.ts'
import {
  freshDatabase,
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../support/servers/servers.ts'
import { until } from '../support/serving/serving-fixture.ts'

let core: Core
let model: string
let folder: string
let databaseUrl: string
beforeAll(async () => {
  databaseUrl = await migratedDatabase()
  core = await startCore({ databaseUrl, temporalAddress: temporalAddress() })
  mkdirSync(join(projectFolder, 'node_modules', '.cache'), { recursive: true })
  folder = mkdtempSync(join(projectFolder, 'node_modules', '.cache', 'triggers-'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await core?.stop()
})
beforeEach(() => (model = uniqueName('fired')))

const everyMs = 1_000
/** Registers a model with these triggers. */
async function having(triggers: TriggerDefinition | TriggerDefinition[], of = model): Promise<void> {
  const { store, config } = core
  await insertModel(store, { model: of, policy, artifactRoot: config.artifactRoot })
  await store.query(sql`
    update models set definition = definition || ${JSON.stringify({ triggers: [triggers].flat() })}::jsonb where name = ${of}`)
}
const fire = ({ of = model } = {}) =>
  core.client.workflow.execute<(request: { model: string }) => Promise<FireTriggersOutcome>>('fireTriggers', {
    workflowId: uniqueName('look'),
    taskQueue: core.config.taskQueues.control,
    args: [{ model: of }],
  })
const started = () => listRetrainings(core.store, { model })
const alerts = async () => (await listAlerts(core.store, { model, open: true })).map(({ message }) => message)
/** Ends the running retraining from outside, so that the next one can start. */
async function endRetraining(): Promise<void> {
  const [open] = (await started()).filter(({ endedAt }) => endedAt === undefined)
  await core.client.workflow.getHandle(retrainWorkflowId(model)).terminate('a test')
  if (open) await closeRetraining(core.store, { id: open.id, outcome: 'failed', message: 'a test' })
}
const retrained = (count: number) =>
  until(async () => (await started()).length === count, `${count} retrainings`)

const files = () => ({
  name: 'file',
  kind: 'file' as const,
  everyMs,
  glob: `${relative(projectFolder, join(folder, model))}/*.done`,
})
const touch = (name: string, text = '') => writeFileSync(join(folder, model, name), text)

describe('a trigger on files', () => {
  it('fires once for a new file and for a changed one, and not for those that were there', async () => {
    mkdirSync(join(folder, model))
    touch('old.done')
    await having(files())
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    touch('other.txt')
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    touch('new.done')
    const { started: id } = await fire()
    await retrained(1)
    const message = `${relative(projectFolder, join(folder, model, 'new.done'))} is new`
    expect(await started()).toMatchObject([
      {
        reason: 'trigger',
        requestedBy: `trigger/${model}/file`,
        dedupeKey: id,
        evidence: { message, files: 1 },
      },
    ])
    await endRetraining()
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    touch('old.done', 'changed')
    await fire()
    await retrained(2)
    await endRetraining()
  })

  it('keeps its place while the folder is away, raises an alert, and resolves it when the folder is back', async () => {
    mkdirSync(join(folder, model))
    touch('one.done')
    await having(files())
    await fire()
    renameSync(join(folder, model), join(folder, `${model}-away`))
    expect((await fire()).message).toContain('there is no such folder')
    expect(await alerts()).toMatchObject([
      expect.stringContaining(`The trigger file of ${model} cannot look`),
    ])
    // The next looks repeat neither the alert nor the line of the log.
    const warn = vi.fn<(fields: object, message: string) => void>()
    const deps = { store: core.store, log: { warn } as unknown as ActivityLog }
    const problem = { model, trigger: 'file', problem: 'there is no such folder' }
    await reportUnreadable(deps, await findOpenTriggerAlerts(deps, model), problem)
    expect(warn).not.toHaveBeenCalled()
    await reportUnreadable(deps, new Set(), problem)
    expect(warn).toHaveBeenCalledOnce()
    expect(await alerts()).toHaveLength(1)
    renameSync(join(folder, `${model}-away`), join(folder, model))
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    expect(await alerts()).toEqual([])
    // An empty mount point, and then the same files again.
    renameSync(join(folder, model), join(folder, `${model}-away`))
    mkdirSync(join(folder, model))
    await fire()
    rmSync(join(folder, model), { recursive: true })
    renameSync(join(folder, `${model}-away`), join(folder, model))
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    expect(await started()).toEqual([])
  })

  it('fires once for what is new while its retraining waits for another', async () => {
    mkdirSync(join(folder, model))
    await having(files())
    await fire()
    touch('1.done')
    await fire()
    await retrained(1)
    touch('2.done')
    expect(await fire()).toMatchObject({ message: '1 waiting' })
    touch('3.done')
    expect(await fire()).toMatchObject({ message: '1 waiting' })
    await endRetraining()
    await fire()
    await retrained(2)
    await endRetraining()
    // Files that arrived while the second firing waited.
    await fire()
    await retrained(3)
    await endRetraining()
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    expect((await started()).map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'failed'])
  })

  it('fires once when several looks find the same file at the same time', async () => {
    mkdirSync(join(folder, model))
    await having(files())
    await fire()
    touch('1.done')
    const found = await Promise.all(Array.from({ length: 8 }, () => fire()))
    expect(found.filter(({ started: id }) => id !== undefined)).toHaveLength(1)
    expect(await core.store.query(sql`select from trigger_firings where model = ${model}`)).toHaveLength(1)
    await retrained(1)
    await endRetraining()
  })

  it('starts again at what is there when the model file changes its pattern', async () => {
    mkdirSync(join(folder, model))
    await having(files())
    await fire()
    touch('1.ready')
    const glob = files().glob.replace('.done', '.ready')
    const triggers = [{ ...files(), glob }]
    await core.store.query(sql`
      update models set definition = definition || ${JSON.stringify({ triggers })}::jsonb where name = ${model}`)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    touch('2.ready')
    await fire()
    await retrained(1)
    await endRetraining()
  })
})

describe('a trigger on a watermark', () => {
  const watermark = (more: object = {}): TriggerDefinition => ({
    name: 'watermark',
    kind: 'watermark',
    everyMs,
    table: 'loads',
    column: 'seq',
    ...more,
  })

  it('fires when the largest value rises, as a role that only reads', async () => {
    const { store } = core
    await store.query(sql`create table loads (seq bigint, at timestamptz)`)
    await store.query(sql`insert into loads values (9007199254740993, now())`)
    await having(watermark())
    expect((await fire()).message).toContain('grant select on <table> to tenure_reader')
    await store.query(sql`grant select on loads to tenure_reader`)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    expect(await alerts()).toEqual([])
    await store.query(sql`insert into loads values (7, now())`)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    await store.query(sql`insert into loads values (9007199254740994, now())`)
    await fire()
    await retrained(1)
    expect(await started()).toMatchObject([
      { evidence: { watermark: '9007199254740994', before: '9007199254740993' } },
    ])
    await endRetraining()
    await store.query(sql`delete from loads where seq > 7`)
    expect(await fire()).toMatchObject({ message: '0 waiting' })
  })

  it('names an unknown column and an unknown source in an alert', async () => {
    await core.store.query(sql`create table if not exists loads (seq bigint, at timestamptz)`)
    await core.store.query(sql`grant select on loads to tenure_reader`)
    await having([watermark({ column: 'changed_at' }), watermark({ name: 'other', source: 'warehouse' })])
    const { message } = await fire()
    expect(message).toContain('column "changed_at" does not exist')
    expect(message).toContain('there is no source warehouse of the kind sql')
    expect(await alerts()).toHaveLength(2)
    // One of them leaves the model file.
    await core.store.query(sql`
      update models set definition = definition || ${JSON.stringify({ triggers: [watermark({ column: 'changed_at' })] })}::jsonb where name = ${model}`)
    await fire()
    expect(await alerts()).toEqual([expect.stringContaining('changed_at')])
  })

  it('of another Postgres raises an alert while that is away, and fires when it is back', async () => {
    const url = await freshDatabase()
    const other = openPatientStore(url, { max: 1, onError: () => {} })
    await other.query(sql`create table loads (at timestamptz)`)
    await other.query(sql`insert into loads values ('2026-01-01T00:00:00.5Z')`)
    const sources = (address: string) =>
      writeFileSync(core.config.metricSources, JSON.stringify({ warehouse: { kind: 'sql', url: address } }), {
        mode: 0o600,
      })
    sources(url)
    await having(watermark({ source: 'warehouse', column: 'at' }))
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    sources('postgres://tenure@127.0.0.1:1/loads')
    await other.query(sql`insert into loads values ('2026-01-01T00:00:00.75Z')`)
    expect((await fire()).message).toMatch(/^0 waiting; watermark: /)
    expect(await alerts()).toHaveLength(1)
    sources(url)
    await fire()
    await retrained(1)
    expect(await alerts()).toEqual([])
    await endRetraining()
    await other.close()
  })
})

describe('a trigger on an upstream workflow', () => {
  const isListed = async (workflowId: string) => {
    for await (const _ of core.client.workflow.list({
      query: `WorkflowId = "${workflowId}" and ExecutionStatus = "Completed"`,
    }))
      return true
    return false
  }
  const run = (workflowId: string) =>
    core.client.workflow.execute('warmUp', {
      workflowId,
      taskQueue: core.config.taskQueues.control,
      args: [],
    })

  it('fires when a run completes, and not for a failed or an earlier one', async () => {
    const upstream = uniqueName('upstream')
    await run(upstream)
    await until(() => isListed(upstream), 'the first run in the list')
    await having({ name: 'workflow', kind: 'workflow', everyMs, id: upstream })
    expect(await fire()).toMatchObject({ message: '0 waiting' })
    await run(upstream)
    await until(async () => (await fire()).started !== undefined, 'the firing')
    await retrained(1)
    expect(await started()).toMatchObject([{ evidence: { workflowId: upstream } }])
    await endRetraining()
    expect(await fire()).toMatchObject({ message: '0 waiting' })
  })

  it('does not fire for the retraining that it has started, although the file names the own namespace', async () => {
    const { namespace } = core.config.temporal
    await having({ name: 'workflow', kind: 'workflow', everyMs, id: retrainWorkflowId(model), namespace })
    await fire()
    await run(retrainWorkflowId(model))
    await until(() => isListed(retrainWorkflowId(model)), 'the run in the list')
    expect(await fire()).toMatchObject({ message: '0 waiting' })
  })
})

it('the schedule checks the triggers, and is deleted with the last trigger of the file', async () => {
  mkdirSync(join(folder, model))
  await having(files())
  const { client, config } = core
  const at = { name: model, triggers: [files()] }
  expect(await syncTriggers(client, at, config.taskQueues.control)).toBe('scheduled')
  await until(
    async () =>
      (await core.store.query(sql`select from trigger_positions where model = ${model}`)).length > 0,
    'the first look',
  )
  touch('1.done')
  await retrained(1)
  expect(await syncTriggers(client, { name: model }, config.taskQueues.control)).toBe('unscheduled')
  await expect(client.schedule.getHandle(triggersScheduleId(model)).describe()).rejects.toThrow()
  await endRetraining()
})

it('a model whose file was removed starts nothing', async () => {
  mkdirSync(join(folder, model))
  await having(files())
  await fire()
  await core.store.query(sql`
    insert into service_state (name, value) values ('models_without_file', ${JSON.stringify([model])}::jsonb)
    on conflict (name) do update set value = excluded.value`)
  touch('1.done')
  expect(await fire()).toMatchObject({ message: '0 waiting' })
  await core.store.query(sql`delete from service_state where name = 'models_without_file'`)
  await fire()
  await retrained(1)
  await endRetraining()
})

it('a start of a retraining in the name of a trigger is refused unless that has fired', async () => {
  await having(files())
  const handle = await core.client.workflow.start('retrain', {
    workflowId: retrainWorkflowId(model),
    taskQueue: core.config.taskQueues.control,
    args: [{ model, order: 'fir_none' }],
  })
  await expect(handle.result()).rejects.toMatchObject({ cause: { type: 'forbidden' } })
})

describe('a worker that is killed', () => {
  const activity = 'lookAtTriggers'
  const points: [string, KillPoint][] = [
    ['before the watermark and the firing are committed', { at: 'uncommitted', activity, run: 1, write: 1 }],
    ['between the watermark and the start', { at: 'committed', activity, run: 1, write: 1 }],
    ['with the start decided and not sent', { at: 'task', task: 2 }],
  ]
  it('loses and doubles no retraining', async () => {
    const codePath = await writeBundle(join(folder, 'workflows.js'))
    const { store, client } = core
    const live = async ([when, point]: [string, KillPoint]) => {
      const mine = uniqueName('killed')
      const below = join(folder, mine)
      mkdirSync(below)
      await having({ ...files(), glob: `${relative(projectFolder, below)}/*.done` }, mine)
      await fire({ of: mine })
      writeFileSync(join(below, '1.done'), '')
      const on = uniqueName('killed')
      const environment = {
        DATABASE_URL: databaseUrl,
        TEMPORAL_ADDRESS: temporalAddress(),
        TENURE_STATE: join(below, 'state'),
        TENURE_CONTROL_QUEUE: on,
        TENURE_BUILD_ID: 'test',
      }
      const workflowId = uniqueName('look')
      const dying = await startInstrumentedWorker(codePath, environment)
      await dying.begin(workflowId, point)
      const handle = await client.workflow.start('fireTriggers', {
        workflowId,
        taskQueue: on,
        args: [{ model: mine }],
      })
      await dying.gone
      const next = await startInstrumentedWorker(codePath, environment)
      const { started: id } = (await handle.result()) as FireTriggersOutcome
      const asked = () => listRetrainings(store, { model: mine })
      await until(async () => (await asked()).length > 0, `the retraining after a kill ${when}`)
      expect(await fire({ of: mine })).toMatchObject({ message: '0 waiting' })
      expect(
        (await asked()).map(({ dedupeKey }) => dedupeKey),
        when,
      ).toEqual([id])
      expect(await findFiring(store, id ?? '')).toMatchObject({ model: mine, trigger: 'file' })
      await next.kill()
      await client.workflow.getHandle(retrainWorkflowId(mine)).terminate('a test')
    }
    await Promise.all(points.map(live))
  })
})
