import { Client, Connection } from '@temporalio/client'
import { rm } from 'node:fs/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findingOfSchedules, listSchedules } from '../../../cli/doctor/schedules.ts'
import { drillScheduleId, scheduleId, syncDrills, syncSchedule } from '../../../cli/sync/schedules.ts'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { iris } from '../../../models/iris.ts'
import { listModels } from '../../../store/registry/models.ts'
import { openStore } from '../../../store/postgres.ts'
import { readConfig } from '../../../temporal.config.ts'
import { reached } from '../../faults/figures.ts'
import { exampleModelDirectory, syncExampleModel } from '../../support/training/example-model.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../../support/servers/servers.ts'

let connection: Connection
let client: Client
beforeAll(async () => {
  connection = await Connection.connect({ address: temporalAddress() })
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
const described = () => client.schedule.getHandle(scheduleId(name)).describe()

describe('the drills of a model', () => {
  it('come every month, by the name of its schedule, and not when its file says so', async () => {
    const definition = { ...iris.definition, name }
    const handle = client.schedule.getHandle(drillScheduleId(name))
    expect(await syncDrills(client, definition, 'control')).toBe('scheduled')
    const { spec, policies, action } = await handle.describe()
    expect(spec.intervals).toMatchObject([{ every: 30 * dayMs }])
    expect(policies).toMatchObject({ overlap: 'SKIP' })
    expect(action).toMatchObject({
      workflowType: 'drill',
      workflowId: `drill/${name}`,
      args: [{ model: name, requestedBy: `schedule/${name}` }],
    })
    const { drill: _drill, ...release } = definition.release
    expect(await syncDrills(client, { ...definition, release }, 'control')).toBe('unscheduled')
    await expect(handle.describe()).rejects.toThrow(/not found/i)
  })
})

describe('the schedule of a model', () => {
  it('is made as the model file says, skips overlaps and catches up no further than told', async () => {
    expect(await sync({ everyMs: 7 * dayMs, catchUpMs: dayMs })).toBe('scheduled')
    const { spec, policies, action } = await described()
    expect(spec.intervals).toMatchObject([{ every: 7 * dayMs }])
    expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: dayMs })
    expect(action).toMatchObject({
      workflowType: 'retrain',
      workflowId: `retrain/${name}`,
      taskQueue: 'control',
      args: [{ model: name, reason: 'schedule', requestedBy: `schedule/${name}` }],
    })
  })

  it('is changed in place and stays paused when a person has paused it', async () => {
    await client.schedule.getHandle(scheduleId(name)).pause('holidays')
    expect(await sync({ cron: '0 5 * * 1', catchUpMs: dayMs })).toBe('scheduled')
    const { spec, state } = await described()
    expect(spec.intervals ?? []).toEqual([])
    expect(spec.calendars).toMatchObject([{ hour: [{ start: 5 }] }])
    expect(state).toMatchObject({ paused: true, note: 'holidays' })
  })

  it('runs once at a time, and what it skips is counted and told', async () => {
    const slow = { ...model({ everyMs: 1_000, catchUpMs: dayMs }), name: uniqueName('slow') }
    // Nobody asks this queue for work, so that the first run goes on for as long as the test.
    await syncSchedule(client, slow, uniqueName('queue'))
    const counted = async () =>
      (await listSchedules(connection, 'default')).filter(({ id }) => id === scheduleId(slow.name))
    await expect.poll(async () => (await counted())[0]?.overlapped).toBeGreaterThan(1)
    const [told] = await counted()
    expect(told).toMatchObject({ begun: 1, missed: 0 })
    const { info } = await client.schedule.getHandle(scheduleId(slow.name)).describe()
    expect(info.runningActions).toHaveLength(1)
    expect(findingOfSchedules([told!])).toMatchObject({
      state: 'warning',
      found: `retrain/${slow.name}: 1 started, ${told!.overlapped} skipped while one ran`,
      next: expect.stringContaining('a run takes longer than the interval') as unknown,
    })
    reached('F28', `${info.runningActions.length} running, ${told!.overlapped} skipped, counted and told`)
    await client.schedule.getHandle(scheduleId(slow.name)).delete()
    const [run] = info.runningActions
    if (run?.type === 'startWorkflow')
      await client.workflow.getHandle(run.workflow.workflowId).terminate('the end')
  })

  it('of which none was skipped is told in a word', () => {
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

  it('of impossible times is refused as a mistake in the model file, new and changed', async () => {
    const refused = {
      code: 'invalid_model_file',
      context: { issues: [expect.stringMatching(/^retrain: .*Hour/)] },
    }
    await expect(sync({ cron: '0 99 * * 1', catchUpMs: dayMs })).rejects.toMatchObject(refused)
    const other = { ...model({ cron: '0 99 * * 1', catchUpMs: dayMs }), name: uniqueName('model') }
    await expect(syncSchedule(client, other, 'control')).rejects.toMatchObject(refused)
  })

  it('is removed with the line in the model file, and removing it twice is no failure', async () => {
    expect(await sync(undefined)).toBe('unscheduled')
    await expect(described()).rejects.toThrow(/not found/i)
    expect(await sync(undefined)).toBe('unscheduled')
  })
})

it('a model file of impossible times is told, and the others are taken in', async () => {
  const directory = await exampleModelDirectory()
  const store = openStore(await migratedDatabase())
  const [good, bad] = [uniqueName('roses'), uniqueName('rue')]
  await syncExampleModel(store, directory, { name: bad, more: "retrain: { cron: '0 99 * * 1' }," })
  await syncExampleModel(store, directory, { name: good })
  await store.query(sql`delete from models`)
  const config = readConfig({
    DATABASE_URL: 'postgres://unused/here',
    TEMPORAL_ADDRESS: temporalAddress(),
  })
  const { models, broken } = await syncModels({ config, store, directory })
  expect(models).toEqual([{ name: good, change: 'new', schedule: 'unscheduled' }])
  expect(broken).toEqual([{ file: `${bad}.ts`, issues: [expect.stringMatching(/^retrain: /)] }])
  expect(await listModels(store)).toMatchObject([{ name: good }])
  await store.close()
  await rm(directory, { recursive: true })
})
