/** Tests retention on the real Temporal: an hourly schedule, partitions created before deletions, and an idle second run. */
import { Client } from '@temporalio/client'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { syncRetention } from '../../workflows/client/schedules.ts'
import type { RetentionOutcome } from '../../workflows/messages.ts'
import { startCore, type Core } from '../support/release/core.ts'
import { connectTemporal, freshNamespace, ownServers, uniqueName } from '../support/servers/servers.ts'

let core: Core
beforeAll(async () => {
  core = await startCore(await ownServers())
})
afterAll(() => core.stop())

const run = (): Promise<RetentionOutcome> =>
  core.client.workflow.execute('retention', {
    taskQueue: core.config.taskQueues.control,
    workflowId: uniqueName('retention'),
    args: [],
  }) as Promise<RetentionOutcome>

it('retention creates missing day partitions and drops expired ones, once', async () => {
  const { store } = core
  await store.query(sql`select drop_prediction_day(now() + interval '3 days')`)
  await store.query(sql`select make_prediction_day(current_date - 100)`)
  await store.query(sql`insert into outcomes (prediction_id, value, observed_at, arrived_at)
    select gen_random_uuid(), '1', now(), now() - make_interval(days => age) from unnest(array[89, 91, 400]) as age`)
  await store.query(sql`insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
    select 'm', 'r', 'v', 'champion', now() - make_interval(days => age), 1, 1, 1 from unnest(array[89, 91]) as age`)
  const first = await run()
  expect(first.daysMade).toBe(1)
  expect(first.daysDropped).toHaveLength(1)
  expect(first.rows).toEqual({ outcomes: 2, tick_counters: 1 })
  const artifacts = { givenUp: 0, removed: 0, freedBytes: 0 }
  expect(await run()).toEqual({ daysMade: 0, daysDropped: [], rows: {}, artifacts })
})

it('retention continues after an interruption: the next run does the remaining steps', async () => {
  const { store, client, config } = core
  for (const back of [120, 110, 100])
    await store.query(sql`select make_prediction_day(current_date - ${back}::integer)`)
  // A reader locks the log, so no partition can be dropped and the run is cancelled.
  const reader = await store.pool.connect()
  await reader.query('begin')
  await reader.query('select count(*) from predictions')
  const handle = await client.workflow.start('retention', {
    taskQueue: config.taskQueues.control,
    workflowId: uniqueName('retention'),
    args: [],
  })
  await expect
    .poll(async () => {
      const { raw } = await handle.describe()
      return raw.pendingActivities?.some(({ attempt }) => (attempt ?? 0) > 1)
    })
    .toBe(true)
  await handle.terminate('as if everything had been killed')
  await reader.query('rollback')
  reader.release()
  const { daysDropped } = await run()
  expect(daysDropped.length).toBeGreaterThanOrEqual(2)
  const left = await store.query(
    sql`select from pg_inherits join pg_class on pg_class.oid = inhrelid where relname < 'predictions_2' and relname ~ '\\d{8}$'`,
  )
  expect(left).toEqual([])
})

it('retention has one hourly schedule, regardless of repeated creation', async () => {
  const namespace = await freshNamespace()
  const connection = await connectTemporal()
  const client = new Client({ connection, namespace })
  await syncRetention(client, 'somewhere')
  await syncRetention(client, core.config.taskQueues.control)
  const { spec, policies, action } = await client.schedule.getHandle('retention').describe()
  expect(spec.intervals).toMatchObject([{ every: 3_600_000 }])
  expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 3_600_000 })
  expect(action).toMatchObject({ workflowType: 'retention', taskQueue: core.config.taskQueues.control })
  await connection.close()
})
