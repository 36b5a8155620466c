import { Client, Connection } from '@temporalio/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { scheduleId, syncSchedule } from '../../cli/schedules.ts'
import type { ModelDefinition } from '../../domain/definition.ts'
import { iris } from '../../models/iris.ts'
import { temporalAddress, uniqueName } from '../support/servers.ts'

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

  it('is removed with the line in the model file, and removing it twice is no failure', async () => {
    expect(await sync(undefined)).toBe('unscheduled')
    await expect(described()).rejects.toThrow(/not found/i)
    expect(await sync(undefined)).toBe('unscheduled')
  })
})
