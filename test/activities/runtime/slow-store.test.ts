/** Tests that work on slow statements takes no more connections than the budget of its process counts. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { withSlowStore } from '../../../activities/runtime/slow-store.ts'
import type { Store } from '../../../store/postgres.ts'
import { openActivityDeps, type ActivityDeps } from '../../support/activity-deps.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let deps: ActivityDeps
beforeAll(async () => {
  deps = await openActivityDeps()
})
afterAll(() => deps?.close())

const name = uniqueName('slow')
const connections = async (store: Store): Promise<number> => {
  const [row] = await store.query<{ count: number }>(sql`
    with slept as materialized (select pg_sleep(0.1))
    select count(*)::integer as count from slept cross join pg_stat_activity where application_name = ${name}`)
  return row!.count
}

it('slow work at the same time shares the connections of its name, and the last one closes them', async () => {
  const options = { name, max: 2, queryMs: 600_000 }
  const work = () =>
    withSlowStore(deps, options, (slow) => Promise.all([1, 2, 3].map(() => connections(slow))))
  const counts = (await Promise.all(Array.from({ length: 10 }, work))).flat()
  expect(Math.max(...counts)).toBe(2)
  await expect.poll(() => connections(deps.store)).toBe(0)
  expect(await work()).toHaveLength(3)
})
