import { Client, type Connection, type ScheduleDescription } from '@temporalio/client'
import { rm } from 'node:fs/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findingOfSchedules, listSchedules } from '../../../cli/doctor/temporal.ts'
import {
  drillScheduleId,
  readSchedules,
  scheduleId,
  syncDrills,
  syncSchedule,
  syncTriggers,
} from '../../../workflows/client/schedules.ts'
import { readStarts } from '../../../workflows/client/next-starts.ts'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { noteOfCron } from '../../../models/define/triggers/cron.ts'
import type { BatchDefinition } from '../../../domain/triggers/partitions.ts'
import { iris } from '../../../models/iris.ts'
import { appendAudit, listAudit } from '../../../store/audit/audit-log.ts'
import { deleteModelRows } from '../../../store/registry/deleted-models.ts'
import { auditModelChanges, listModels } from '../../../store/registry/models.ts'
import { readConfig } from '../../../temporal.config.ts'
import { reached } from '../../faults/figures.ts'
import { exampleModelDirectory, syncExampleModel } from '../../support/training/example-model.ts'
import {
  connectTemporal,
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../../support/servers/servers.ts'

let connection: Connection
let client: Client
beforeAll(async () => {
  connection = await connectTemporal()
  client = new Client({ connection })
})
afterAll(() => connection.close())

const name = uniqueName('model')
const dayMs = 86_400_000
const model = (retrain: ModelDefinition['retrain']): ModelDefinition => {
  const { retrain: _, ...rest } = iris.definition
  return { ...rest, name, ...(retrain === undefined ? {} : { retrain }) }
}
const sync = (retrain: ModelDefinition['retrain']) => syncSchedule(client, model(retrain), 'control')
/** A batch of the model that scores by the clock. */
const scheduledBatch: BatchDefinition = {
  name: 'nightly',
  input: { kind: 'sql', query: 'select 1' },
  output: { kind: 'table' },
  key: [],
  schedule: { everyMs: dayMs, catchUpMs: 0 },
}
const described = () => client.schedule.getHandle(scheduleId(name)).describe()

describe('the drill schedule of a model', () => {
  it('runs every month and is deleted when the model file disables it', async () => {
    const definition = { ...iris.definition, name }
    const handle = client.schedule.getHandle(drillScheduleId(name))
    expect(await syncDrills(client, definition, 'control')).toBe('scheduled')
    const { spec, policies, action } = await handle.describe()
    expect(spec.intervals).toMatchObject([{ every: 30 * dayMs }])
    expect(policies).toMatchObject({ overlap: 'SKIP' })
    expect(action).toMatchObject({
      workflowType: 'drill',
      workflowId: `drill/${name}`,
      args: [{ model: name }],
    })
    const { drill: _drill, ...release } = definition.release
    expect(await syncDrills(client, { ...definition, release }, 'control')).toBe('unscheduled')
    await expect(handle.describe()).rejects.toThrow(/not found/i)
  })
})

describe('the schedule of a model', () => {
  it('follows the model file, skips overlaps and limits catch-up', async () => {
    expect(await sync({ everyMs: 7 * dayMs, catchUpMs: dayMs })).toBe('scheduled')
    const { spec, policies, action } = await described()
    expect(spec.intervals).toMatchObject([{ every: 7 * dayMs }])
    expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: dayMs })
    expect(action).toMatchObject({
      workflowType: 'retrain',
      workflowId: `retrain/${name}`,
      taskQueue: 'control',
      args: [{ model: name }],
    })
  })

  it('is updated in place and stays paused by an operator', async () => {
    await client.schedule.getHandle(scheduleId(name)).pause('holidays')
    expect(await sync({ cron: '0 5 * * 1', catchUpMs: dayMs })).toBe('scheduled')
    const { spec, state } = await described()
    expect(spec.intervals ?? []).toEqual([])
    expect(spec.calendars).toMatchObject([{ hour: [{ start: 5 }] }])
    expect(state).toMatchObject({ paused: true, note: 'holidays' })
  })

  it('runs once at a time, and the doctor reports skipped runs', async () => {
    const slow = { ...model({ everyMs: 1_000, catchUpMs: dayMs }), name: uniqueName('slow') }
    // No worker polls this queue, so the first run lasts as long as the test.
    await syncSchedule(client, slow, uniqueName('queue'))
    const counted = async () =>
      (await listSchedules(connection, 'default')).filter(({ id }) => id === scheduleId(slow.name))
    let told: Awaited<ReturnType<typeof counted>>[number] | undefined
    await expect.poll(async () => ([told] = await counted())[0]?.overlapped).toBeGreaterThan(1)
    expect(told).toMatchObject({ begun: 1, missed: 0 })
    // Temporal returns DEADLINE_EXCEEDED while the workflow of the schedule is busy with its runs.
    let running: ScheduleDescription['info']['runningActions'] = []
    const runs = async () =>
      (running = (await client.schedule.getHandle(scheduleId(slow.name)).describe()).info.runningActions)
    await expect.poll(runs).toHaveLength(1)
    expect(findingOfSchedules([told!])).toMatchObject({
      state: 'warning',
      found: `retrain/${slow.name}: 1 started, ${told!.overlapped} skipped while one ran`,
      next: expect.stringContaining('a run takes longer than the interval') as unknown,
    })
    reached('F28', `${running.length} running, ${told!.overlapped} skipped, counted and told`)
    await client.schedule.getHandle(scheduleId(slow.name)).delete()
    const [run] = running
    if (run?.type === 'startWorkflow')
      await client.workflow.getHandle(run.workflow.workflowId).terminate('the end')
  })

  it('passes the doctor without skipped runs', () => {
    const weekly = { id: 'retrain/iris', begun: 4, overlapped: 0, missed: 0 }
    expect(findingOfSchedules([weekly])).toMatchObject({
      state: 'ok',
      found: 'no skipped run (schedules: 1)',
    })
    expect(findingOfSchedules([{ ...weekly, overlapped: 1, missed: 2 }])).toMatchObject({
      state: 'ok',
      found: 'retrain/iris: 4 started, 1 skipped while one ran, 2 missed while Temporal was down',
    })
  })

  it('is refused as an invalid model file for impossible times', async () => {
    const refused = {
      code: 'invalid_model_file',
      context: { issues: [expect.stringMatching(/^retrain: .*Hour/)] },
    }
    await expect(sync({ cron: '0 99 * * 1', catchUpMs: dayMs })).rejects.toMatchObject(refused)
    const other = { ...model({ cron: '0 99 * * 1', catchUpMs: dayMs }), name: uniqueName('model') }
    await expect(syncSchedule(client, other, 'control')).rejects.toMatchObject(refused)
  })

  it('is deleted with its line in the model file, idempotently', async () => {
    expect(await sync(undefined)).toBe('unscheduled')
    await expect(described()).rejects.toThrow(/not found/i)
    expect(await sync(undefined)).toBe('unscheduled')
  })
})

describe('the next starts of a model', () => {
  const sunday = /T03:00:00/
  const weekday = (iso: string) => new Date(iso).getUTCDay()
  const day = (iso: string) => new Date(iso).getUTCDate()

  it('are three of each schedule, read from Temporal, and from its list once that is current', async () => {
    const own = { ...model({ cron: '0 3 * * 0', catchUpMs: dayMs }), name: uniqueName('starts') }
    const batches = [scheduledBatch]
    const all = { ...own, batches }
    await syncSchedule(client, all, 'control')
    await syncDrills(client, all, 'control')
    await syncTriggers(client, all, 'control')
    const found = await readStarts(client, all, 'control')
    expect(found.map(({ schedule, starts }) => [schedule, starts.length])).toEqual([
      [scheduleId(own.name), 3],
      [drillScheduleId(own.name), 3],
      [`score/${own.name}/${scheduledBatch.name}`, 3],
    ])
    for (const start of found[0]!.starts) expect([weekday(start), sunday.test(start)]).toEqual([0, true])
    await expect
      .poll(async () => (await readSchedules(client)).get(scheduleId(own.name))?.nextAt.slice(0, 3))
      .toEqual(found[0]!.starts)
    await client.schedule.getHandle(scheduleId(own.name)).pause('holidays')
    const [paused] = await readStarts(client, all, 'control')
    expect(paused).toMatchObject({ paused: true, starts: [] })
  })

  it('of a cron with both day fields are days for which both hold, which a sentence tells', async () => {
    const cron = '0 3 1,15 * 1'
    const own = { ...model({ cron, catchUpMs: dayMs }), name: uniqueName('both') }
    await syncSchedule(client, own, 'control')
    const { drill: _drill, ...release } = own.release
    const [found] = await readStarts(client, { ...own, release }, 'control')
    expect(found!.starts).toHaveLength(3)
    for (const start of found!.starts)
      expect([weekday(start), [1, 15].includes(day(start))]).toEqual([1, true])
    expect(noteOfCron(cron)).toBe(
      `'0 3 1,15 * 1' starts only on days that are both 1,15 in the month and 1 in the week, where crontab starts on either: write * in one of the two fields`,
    )
    for (const other of ['0 3 * * 1', '0 3 1,15 * *', '0 3 */2 * 1', '0 3 ? * MON'])
      expect(noteOfCron(other)).toBeUndefined()
  })
})

it('a model file with impossible times is reported, and the others are applied', async () => {
  const directory = await exampleModelDirectory()
  const store = openPatientStore(await migratedDatabase())
  const [good, bad] = [uniqueName('good'), uniqueName('bad')]
  await syncExampleModel(store, directory, { name: bad, more: "retrain: { cron: '0 99 * * 1' }," })
  await syncExampleModel(store, directory, { name: good, more: "retrain: { cron: '0 3 1,15 * 1' }," })
  await store.query(sql`delete from models`)
  const config = readConfig({
    DATABASE_URL: 'postgres://unused/here',
    TEMPORAL_ADDRESS: temporalAddress(),
  })
  const { models, broken } = await syncModels({ config, store, directory })
  const starts = Array(3).fill(expect.any(String)) as unknown
  const both = {
    schedule: scheduleId(good),
    starts,
    note: expect.stringMatching(/where crontab starts on either/) as unknown,
  }
  const drill = { schedule: drillScheduleId(good), starts, note: undefined }
  expect(models).toMatchObject([{ name: good, change: 'new', schedule: 'scheduled', starts: [both, drill] }])
  expect(broken).toEqual([{ file: `${bad}.ts`, issues: [expect.stringMatching(/^retrain: /)] }])
  expect(await listModels(store)).toMatchObject([{ name: good }])
  await auditModelChanges(store)
  expect(await listAudit(store)).toMatchObject([
    { actor: expect.stringMatching(/^cli\//) as unknown, action: 'model.synced', subject: good },
  ])
  // A start of the server leaves files alone that were sent; a sync with access to Postgres puts its own in their place.
  await store.query(sql`update models set files_digest = 'sha256:f', code_digest = 'sent'`)
  expect((await syncModels({ config, store, directory, spareSent: true })).models).toEqual([])
  expect(await listModels(store)).toMatchObject([{ name: good, filesDigest: 'sha256:f', codeDigest: 'sent' }])
  const [own] = (await syncModels({ config, store, directory })).models
  expect(own).toMatchObject({ name: good, change: 'changed' })
  expect((await listModels(store))[0]).not.toHaveProperty('filesDigest')
  // A name is free when the log of its deleted model is gone.
  await store.transaction(async (database) => {
    await deleteModelRows(database, good)
    const entry = { actor: 'olga', action: 'model.purged', subject: good, model: good, detail: {} }
    await appendAudit(database, entry)
  })
  await store.query(sql`
    insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
    values (${good}, 'r', 'v', 'champion', now(), 1, 1, 1)`)
  const early = await syncModels({ config, store, directory })
  expect(early.broken).toContainEqual({
    file: `${good}.ts`,
    issues: [expect.stringContaining('is still being deleted') as unknown],
  })
  await store.query(sql`delete from tick_counters`)
  expect((await syncModels({ config, store, directory })).models).toMatchObject([
    { name: good, change: 'new' },
  ])
  await store.close()
  await rm(directory, { recursive: true })
})
