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
