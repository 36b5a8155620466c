import { Client, Connection } from '@temporalio/client'
import { rm } from 'node:fs/promises'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { drillScheduleId, scheduleId, syncDrills, syncSchedule } from '../../cli/schedules.ts'
import { syncModels } from '../../cli/sync.ts'
import type { ModelDefinition } from '../../domain/definition.ts'
import { iris } from '../../models/iris.ts'
import { listModels } from '../../store/models.ts'
import { openStore } from '../../store/postgres.ts'
import { readConfig } from '../../temporal.config.ts'
import { rosesDirectory, syncRoses } from '../support/roses.ts'
import { migratedDatabase, temporalAddress, uniqueName } from '../support/servers.ts'

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
  const directory = await rosesDirectory()
  const store = openStore(await migratedDatabase())
  const [good, bad] = [uniqueName('roses'), uniqueName('rue')]
  await syncRoses(store, directory, { name: bad, more: "retrain: { cron: '0 99 * * 1' }," })
  await syncRoses(store, directory, { name: good })
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
