/** Tests that the models of a large installation are applied, also through a slow link to Temporal, and with few calls. */
import { Client, Connection, type ConnectionOptions } from '@temporalio/client'
import { readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { expect, it, vi } from 'vitest'
import { syncModels } from '../../../cli/sync/sync-models.ts'
import { modelsDirectory } from '../../../models/index.ts'
import { drillScheduleId, scheduleId } from '../../../workflows/client/schedules.ts'
import { readConfig } from '../../../temporal.config.ts'
import { openCuttableLink } from '../../support/servers/cuttable-link.ts'
import {
  migratedDatabase,
  openPatientStore,
  temporalAddress,
  uniqueName,
} from '../../support/servers/servers.ts'
import { exampleModelDirectory } from '../../support/training/example-model.ts'

const count = 24
/** Maximum number of calls that do not grow with the models: lists, and the check of the payload keys. */
const around = 16

it('applies many models though all calls together take longer than the deadline of one', async () => {
  const directory = await exampleModelDirectory()
  const link = await openCuttableLink(`http://${temporalAddress()}`, { delayMs: 60 })
  const config = readConfig({
    DATABASE_URL: await migratedDatabase(),
    TEMPORAL_ADDRESS: new URL(link.url).host,
    TENURE_CONTROL_QUEUE: uniqueName('many'),
  })
  const store = openPatientStore(config.databaseUrl, { max: 2 })
  const prefix = uniqueName('many').replaceAll('_', '-')
  const iris = readFileSync(join(modelsDirectory, 'iris.ts'), 'utf8').replace("'./", `'${modelsDirectory}`)
  const names = Array.from({ length: count }, (_, each) => `${prefix}-${each}`)
  for (const name of names) writeFileSync(join(directory, `${name}.ts`), iris.replace("'iris'", `'${name}'`))
  const calls: string[] = []
  const connect = Connection.connect.bind(Connection)
  const counted: NonNullable<ConnectionOptions['interceptors']>[number] = (options, nextCall) => {
    calls.push(options.method_definition.path.split('/').at(-1) ?? '')
    return nextCall(options) as ReturnType<typeof counted>
  }
  vi.spyOn(Connection, 'connect').mockImplementation((options) =>
    connect({ ...options, interceptors: [...(options?.interceptors ?? []), counted] }),
  )
  const apply = async () => {
    calls.length = 0
    return syncModels({ config, store, directory })
  }
  const { models, broken } = await apply()
  expect(broken).toEqual([])
  expect(models.map(({ name }) => name)).toEqual(names.toSorted())
  // A creation or an update is followed by a reading of the next starts, until the list is current.
  expect(calls.length).toBeLessThan(5 * count + around)
  expect(calls.filter((call) => call === 'CreateSchedule').length).toBeGreaterThanOrEqual(2 * count)

  // Temporal's lists are updated a moment later.
  await expect.poll(async () => (await apply(), calls.length)).toBeLessThan(around)
  expect((await apply()).models.map(({ change }) => change)).toEqual(names.map(() => 'unchanged'))

  for (const name of names)
    writeFileSync(
      join(directory, `${name}.ts`),
      iris.replace("'iris'", `'${name}'`).replace("'1 week'", "'2 weeks'"),
    )
  await store.query(sql`update models set synced_at = now() - interval '1 hour'`)
  expect((await apply()).models.map(({ change }) => change)).toEqual(names.map(() => 'changed'))
  expect(calls.filter((call) => call === 'UpdateSchedule')).toHaveLength(count)
  expect(calls.length).toBeLessThan(3 * count + around)
  await expect.poll(async () => (await apply(), calls.length)).toBeLessThan(around)

  const [first = '', second = ''] = names
  const { schedule } = new Client({ connection: await connect({ address: temporalAddress() }) })
  const dayMs = 86_400_000
  for (const id of [scheduleId(first), drillScheduleId(second)])
    await schedule.getHandle(id).update((was) => ({ ...was, spec: { intervals: [{ every: 99 * dayMs }] } }))
  const everyMs = async (id: string) => (await schedule.getHandle(id).describe()).spec.intervals?.[0]?.every
  await expect
    .poll(
      async () => (await apply(), [await everyMs(scheduleId(first)), await everyMs(drillScheduleId(second))]),
    )
    .toEqual([14 * dayMs, 30 * dayMs])
  vi.restoreAllMocks()
  await store.close()
  await link.close()
  await rm(directory, { recursive: true })
})
