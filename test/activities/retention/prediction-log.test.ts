/** Tests which rows the deletion of expired predictions takes with them. */
import { MockActivityEnvironment } from '@temporalio/testing'
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { deleteExpired } from '../../../activities/retention/prediction-log.ts'
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
