/** Tests that a removed model file pauses its schedules and a restored one resumes them. */
import { Client, type Connection } from '@temporalio/client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pauseGone, resumeReturned } from '../../../cli/sync/removed-models.ts'
import { scheduleId, syncSchedule } from '../../../temporal/schedules.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  connectTemporal,
  migratedDatabase,
  openPatientStore,
  uniqueName,
} from '../../support/servers/servers.ts'

let store: Store
let connection: Connection
let client: Client
const [kept, deleted] = [uniqueName('kept'), uniqueName('deleted')]
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
  connection = await connectTemporal()
  client = new Client({ connection })
  for (const name of [kept, deleted]) {
    await store.query(sql`insert into models (name, definition, code_digest) values (${name}, '{}', 'c')`)
    const definition = { name, retrain: { everyMs: 86_400_000, catchUpMs: 60_000 } } as ModelDefinition
    await syncSchedule(client, definition, 'without-worker')
  }
})
afterAll(async () => {
  for (const name of [kept, deleted]) await client.schedule.getHandle(scheduleId(name)).delete()
  await connection.close()
  await store.close()
})
const isPaused = async (model: string) =>
  (await client.schedule.getHandle(scheduleId(model)).describe()).state.paused

it('a removed model file is reported and its schedules paused until it is restored', async () => {
  expect(await pauseGone(client, store, new Set([kept]))).toEqual([deleted])
  expect([await isPaused(kept), await isPaused(deleted)]).toEqual([false, true])
  await resumeReturned(client, deleted)
  expect(await isPaused(deleted)).toBe(false)
})

it('a schedule paused by an operator stays paused', async () => {
  await client.schedule.getHandle(scheduleId(kept)).pause('the source is being moved')
  await resumeReturned(client, kept)
  expect(await isPaused(kept)).toBe(true)
})
