/** Tests which rows the deletion of expired predictions takes with them. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { deleteExpired } from '../../../activities/retention/prediction-log.ts'
import { upsertAlert } from '../../../store/monitoring/alerts.ts'
import { appendAudit } from '../../../store/audit/audit-log.ts'
import { deleteModelRows } from '../../../store/registry/deleted-models.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'

let deps: ActivityDeps
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps.close())

it('the deletion of expired predictions takes their outcomes and reviews with them', async () => {
  const { store } = deps
  await store.query(sql`insert into models (name, definition, code_digest) values ('m', '{}', '')`)
  for (const days of [91, 89]) {
    const id = randomUUID()
    await store.query(sql`insert into outcomes (prediction_id, value, observed_at, arrived_at)
      values (${id}, '1', now(), now() - make_interval(days => ${days}))`)
    await store.query(sql`insert into reviews (prediction_id, model, value, reviewed_by, reviewed_at)
      values (${id}, 'm', '1', 'anna', now() - make_interval(days => ${days}))`)
  }
  const deleted = await new MockActivityEnvironment().run(deleteExpired(deps))
  expect(deleted).toEqual({ daysDropped: [], rows: { outcomes: 1, reviews: 1 } })
})

it('sent model files go that were rejected or replaced, and those in use and those that wait stay', async () => {
  const { store } = deps
  await store.query(
    sql`insert into models (name, definition, code_digest, files_digest) values ('n', '{}', '', 'used')`,
  )
  for (const [digest, state, days] of [
    ['used', 'applied', 91],
    ['replaced', 'applied', 91],
    ['rejected', 'rejected', 91],
    ['young', 'rejected', 89],
    ['waiting', 'waiting', 91],
  ] as const)
    await store.query(sql`insert into model_files (model, digest, archive, definition, code_digest, files, sent_by, sent_at, state, decided_by)
      values ('n', ${digest}, '', '{}', '', '{}', 'leo', now() - make_interval(days => ${days}), ${state}, 'ada')`)
  const deleted = await new MockActivityEnvironment().run(deleteExpired(deps))
  expect(deleted).toMatchObject({ rows: { model_files: 2 } })
  const left = await store.query<{ digest: string }>(sql`select digest from model_files order by digest`)
  expect(left.map(({ digest }) => digest)).toEqual(['used', 'waiting', 'young'])
})

it('what a deleted model has left in the log and the counters goes with the outcomes, and another model keeps its own', async () => {
  const { store } = deps
  await store.query(sql`
    insert into models (name, definition, code_digest) values ('gone', '{}', ''), ('kept', '{}', '')`)
  for (const model of ['gone', 'kept']) {
    const id = randomUUID().replace(/.{4}$/, '0000')
    await store.query(sql`
      insert into predictions (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
      values (${id}, now(), ${model}, 'v', 'champion', 1, 1, '', '{0}', 1)`)
    await store.query(
      sql`insert into outcomes (prediction_id, value, observed_at) values (${id}, '1', now())`,
    )
    await store.query(sql`
      insert into tick_counters (model, replica_id, version, arm, tick, tick_ms, generation, requests)
      values (${model}, 'r', 'v', 'champion', now(), 1, 1, 1)`)
  }
  const count = async () =>
    (
      await store.query(sql`select (select count(*) from predictions) as log, (select count(*) from outcomes) as outcomes,
        (select count(*) from tick_counters) as ticks`)
    )[0]
  const before = await count()
  await store.transaction(async (database) => {
    await deleteModelRows(database, 'gone')
    const entry = { actor: 'olga', action: 'model.purged', subject: 'gone', model: 'gone', detail: {} }
    await appendAudit(database, entry)
  })
  // What had begun may still end.
  const late = { severity: 'warning', kind: 'quarantined', message: 'there is no model' } as const
  for (const model of ['gone', 'kept']) await upsertAlert(store, { ...late, dedupeKey: model, model })
  const deleted = await new MockActivityEnvironment().run(deleteExpired(deps))
  expect(deleted).toMatchObject({ rows: { 'deleted models': 2 } })
  const open = await store.query(sql`select model from alerts where resolved_at is null`)
  expect(open).toEqual([{ model: 'kept' }])
  expect(await count()).toEqual({
    log: Number(before!['log']) - 1,
    outcomes: Number(before!['outcomes']) - 1,
    ticks: Number(before!['ticks']) - 1,
  })
  expect(await store.query(sql`select distinct model from predictions`)).toEqual([{ model: 'kept' }])
})
