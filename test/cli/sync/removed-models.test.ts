/** Tests that a removed model file pauses its schedules, a restored one resumes them, and an unused model is deleted. */
import { Client, ScheduleNotFoundError, type Connection } from '@temporalio/client'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pauseGone, resumeReturned } from '../../../cli/sync/sync-models.ts'
import { scheduleId, syncSchedule, syncTriggers } from '../../../workflows/client/schedules.ts'
import { batchScheduleWorkflowId } from '../../../workflows/triggers/messages.ts'
import type { ModelDefinition } from '../../../domain/model-definition.ts'
import { listModelLines } from '../../../store/dashboard/lists.ts'
import { listModelStates } from '../../../store/dashboard/overview.ts'
import { listListedModels, listRemovedModels } from '../../../store/maintenance/expected-work.ts'
import { findModel } from '../../../store/registry/models.ts'
import { listSweeps } from '../../../store/training/sweeps.ts'
import type { Store } from '../../../store/postgres.ts'
import { registerDigest } from '../../support/serving/registration.ts'
import {
  connectTemporal,
  migratedDatabase,
  openPatientStore,
  uniqueName,
} from '../../support/servers/servers.ts'

let store: Store
let connection: Connection
let client: Client
const retraining = { everyMs: 86_400_000, catchUpMs: 60_000 }
const [kept, deleted] = [uniqueName('kept'), uniqueName('deleted')]
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
  connection = await connectTemporal()
  client = new Client({ connection })
  for (const name of [kept, deleted]) {
    await store.query(sql`insert into models (name, definition, code_digest) values (${name}, '{}', 'c')`)
    await syncSchedule(client, { name, retrain: retraining } as ModelDefinition, 'without-worker')
  }
  // What a model has recorded keeps it.
  await store.query(sql`
    insert into sweeps (id, model, requested_by, as_of, plan) values (${uniqueName('swp')}, ${deleted}, 'olga', now(), '{}')`)
})
afterAll(async () => {
  for (const name of [kept, deleted]) await client.schedule.getHandle(scheduleId(name)).delete()
  await connection.close()
  await store.close()
})
const isPaused = async (model: string) =>
  (await client.schedule.getHandle(scheduleId(model)).describe()).state.paused

it('a removed model file is reported and its schedules paused until it is restored', async () => {
  expect(await pauseGone(client, store, new Set([kept]))).toEqual({ gone: [deleted], deleted: [] })
  expect([await isPaused(kept), await isPaused(deleted)]).toEqual([false, true])
  await resumeReturned(client, deleted)
  expect(await isPaused(deleted)).toBe(false)
})

it('a model whose files were sent to the server needs none in the project, and is listed and trained from those', async () => {
  await pauseGone(client, store, new Set([kept]))
  await store.query(sql`update models set files_digest = 'sha256:f' where name = ${deleted}`)
  expect(await listRemovedModels(store)).toEqual([])
  expect((await listListedModels(store)).map(({ name }) => name)).toContain(deleted)
  await resumeReturned(client, deleted)
  expect(await pauseGone(client, store, new Set([kept]))).toEqual({ gone: [], deleted: [] })
  expect(await isPaused(deleted)).toBe(false)
  await store.query(sql`update models set files_digest = null where name = ${deleted}`)
})

it('a removed model is listed only while it has a version; what it has recorded stays', async () => {
  const listed = async () => {
    const lists = [
      (await listListedModels(store)).map(({ name }) => name),
      (await listModelLines(store, { limit: 100 })).map(({ model }) => model),
      (await listModelStates(store)).map(({ model }) => model),
    ]
    return lists.map((names) => names.includes(deleted))
  }
  await pauseGone(client, store, new Set([kept]))
  expect(await listed()).toEqual([false, false, false])
  expect((await listSweeps(store, { model: deleted })).length).toBe(1)
  await pauseGone(client, store, new Set([kept, deleted]))
  expect(await listed()).toEqual([true, true, true])
  await pauseGone(client, store, new Set([kept]))
  const root = mkdtempSync(join(tmpdir(), 'tenure-removed-'))
  await registerDigest(store, root, {
    model: deleted,
    digest: 'd',
    features: {},
    output: { kind: 'number' },
  })
  expect(await listed()).toEqual([true, true, true])
  rmSync(root, { recursive: true })
})

it('a removed model that has recorded nothing is deleted with its schedules, also those that Temporal does not list yet', async () => {
  const misspelt = uniqueName('misspelt')
  const batches = [{ name: 'daily', schedule: { everyMs: 86_400_000 } }]
  await store.query(
    sql`insert into models (name, definition, code_digest) values (${misspelt}, ${JSON.stringify({ batches })}, 'c')`,
  )
  await syncTriggers(client, { name: misspelt, batches } as ModelDefinition, 'without-worker')
  const daily = client.schedule.getHandle(batchScheduleWorkflowId(misspelt, 'daily'))
  await daily.describe()
  await store.query(sql`
    insert into monitor_windows (model, from_at, to_at, facts, findings, judge)
    values (${misspelt}, now() - interval '1 hour', now(), '{}', '{}', 'j')`)
  await syncSchedule(client, { name: misspelt, retrain: retraining } as ModelDefinition, 'without-worker')
  expect(await pauseGone(client, store, new Set([kept, deleted]))).toEqual({ gone: [], deleted: [misspelt] })
  expect(await findModel(store, misspelt)).toBeUndefined()
  await expect(isPaused(misspelt)).rejects.toThrow(ScheduleNotFoundError)
  await expect(daily.describe()).rejects.toThrow(ScheduleNotFoundError)
  expect(await listRemovedModels(store)).toEqual([])
})

it('a schedule paused by an operator stays paused', async () => {
  await client.schedule.getHandle(scheduleId(kept)).pause('the source is being moved')
  await resumeReturned(client, kept)
  expect(await isPaused(kept)).toBe(true)
})
