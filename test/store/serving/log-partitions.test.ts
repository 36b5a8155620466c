/**
 * Tests the daily partitions of the prediction log: created ahead, dropped when too old, never blocking a row, and found by the id's time.
 */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openRoles } from '../../../store/database/application-role.ts'
import { migrate } from '../../../store/database/migrate.ts'
import {
  dropPartitions,
  deleteExpiredRows,
  createPartitions,
  settleAccount,
} from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { freshDatabase, openPatientStore, startOfDay } from '../../support/servers/servers.ts'

let store: Store
const dayMs = 86_400_000
let today: number
beforeAll(async () => {
  today = await startOfDay()
  // Migrated here, because the copied databases of a run that began before midnight have the partitions of the day before.
  const url = await freshDatabase()
  await migrate(url)
  await openRoles(url)
  store = openPatientStore(url)
})
afterAll(() => store.close())

const midnight = (days: number): number => today + days * dayMs
const nameOf = (ms: number): string =>
  `predictions_${new Date(ms).toISOString().slice(0, 10).replaceAll('-', '')}`
const days = async (): Promise<string[]> => {
  const { rows } = await store.pool.query<{ name: string }>(
    `select relname as name from pg_inherits join pg_class on pg_class.oid = inhrelid
     where inhparent = 'predictions'::regclass order by relname`,
  )
  return rows.map(({ name }) => name)
}
/** Makes an id of that moment, as replicas do. */
const idAt = (ms: number): string =>
  `${ms
    .toString(16)
    .padStart(12, '0')
    .replace(/^(.{8})/, '$1-')}-7${randomUUID().slice(15, 32)}0000`
const insert = async (ms: number): Promise<string> => {
  const id = idAt(ms)
  await store.query(sql`insert into predictions
    (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
    values (${id}, ${new Date(ms).toISOString()}, 'm', 'm_v1.0.0', 'champion', 1, 1, '', '{1}', 1)`)
  return id
}
const where = async (id: string): Promise<string> =>
  (
    await store.pool.query<{ name: string }>(
      'select tableoid::regclass::text as name from predictions where id = $1',
      [id],
    )
  ).rows[0]!.name

beforeEach(() => store.pool.query('truncate predictions, outcomes, shadow_pairs, prediction_log_accounts'))

describe('the daily partitions of the log', () => {
  it('are created ahead by the migration, once', async () => {
    expect(await days()).toEqual([
      ...Array.from({ length: 8 }, (_, i) => nameOf(midnight(i))),
      'predictions_default',
    ])
    expect(await createPartitions(store, 7)).toBe(0)
  })

  it('contain the rows of their day in UTC, and the default partition all others', async () => {
    expect(await where(await insert(midnight(0)))).toBe(nameOf(midnight(0)))
    expect(await where(await insert(midnight(1) - 1))).toBe(nameOf(midnight(0)))
    expect(await where(await insert(midnight(1)))).toBe(nameOf(midnight(1)))
    expect(await where(await insert(midnight(-40)))).toBe('predictions_default')
    expect(await where(await insert(midnight(300)))).toBe('predictions_default')
  })

  it('are created during writes, by two workers at once, none twice', async () => {
    const writing = Promise.all(Array.from({ length: 50 }, (_, i) => insert(midnight(8 + (i % 3)) + i)))
    const made = await Promise.all([createPartitions(store, 12), createPartitions(store, 12)])
    await writing
    expect(made[0] + made[1]).toBe((await days()).length - 9)
    const { rows } = await store.pool.query<{ count: number }>('select count(*) from predictions')
    expect(rows[0]!.count).toBe(50)
  })

  it('are not created for a day with rows in the default partition, where they remain readable', async () => {
    await store.query(sql`drop table ${sql([nameOf(midnight(2))])}`)
    const id = await insert(midnight(2))
    expect(await where(id)).toBe('predictions_default')
    expect(await createPartitions(store, 7)).toBe(0)
    await store.pool.query('delete from predictions')
    expect(await createPartitions(store, 7)).toBe(1)
    expect(await where(await insert(midnight(2)))).toBe(nameOf(midnight(2)))
  })

  it('are dropped when they ended before the retention, completely, oldest first', async () => {
    for (const back of [3, 2, 1])
      await store.query(
        sql`select make_prediction_day(${new Date(midnight(-back)).toISOString().slice(0, 10)}::date)`,
      )
    const ids = await Promise.all([3, 2, 1, 0].map((back) => insert(midnight(-back) + dayMs - 1)))
    // A partition that ended exactly two days ago is as old as allowed; only the day before it is too old.
    expect(await dropPartitions(store, 2)).toEqual([nameOf(midnight(-3))])
    expect(await dropPartitions(store, 2)).toEqual([])
    expect(await dropPartitions(store, 1)).toEqual([nameOf(midnight(-2))])
    const { rows } = await store.pool.query<{ id: string }>('select id from predictions order by at')
    expect(rows.map(({ id }) => id)).toEqual(ids.slice(2))
  })

  it('are created and dropped by the role of the processes', async () => {
    const client = await store.pool.connect()
    try {
      await client.query('begin')
      await client.query('set local role tenure_app')
      const day = new Date(midnight(-7)).toISOString().slice(0, 10)
      const { rows } = await client.query('select make_prediction_day($1::date) as made', [day])
      expect(rows).toEqual([{ made: true }])
      await client.query(
        `insert into predictions
        (id, at, model, version, arm, generation, instances, features, outputs, latency_us)
        values ($1, $2, 'm', 'm_v1.0.0', 'champion', 1, 1, '', '{1}', 1)`,
        [idAt(midnight(-7)), new Date(midnight(-7))],
      )
      await client.query(`delete from ${nameOf(midnight(-7))}`)
      const dropped = await client.query('select drop_prediction_day($1) as name', [new Date(midnight(-5))])
      expect(dropped.rows).toEqual([{ name: nameOf(midnight(-7)) }])
    } finally {
      await client.query('rollback')
      client.release()
    }
  })

  it('time out behind a long reader instead of blocking the writers behind it', async () => {
    await store.query(
      sql`select make_prediction_day(${new Date(midnight(-9)).toISOString().slice(0, 10)}::date)`,
    )
    const reader = await store.pool.connect()
    await reader.query('begin')
    await reader.query('select count(*) from predictions')
    await expect(dropPartitions(store, 5)).rejects.toMatchObject({ code: '55P03' })
    await insert(midnight(0))
    await reader.query('rollback')
    reader.release()
    expect(await dropPartitions(store, 5)).toEqual([nameOf(midnight(-9))])
  })
})

describe('the records of a prediction', () => {
  it('are found by its id in one daily partition', async () => {
    const id = await insert(Date.now())
    const { rows } = await store.pool.query<{ 'QUERY PLAN': string }>(
      `explain (analyze, costs off, timing off, summary off) select known.id from (values ($1::uuid)) as sent (id)
       join lateral (select id from predictions where predictions.id = request_of(sent.id)
         and at >= prediction_time(sent.id) - interval '1 minute' and at < prediction_time(sent.id) + interval '10 minutes') as known on true`,
      [id],
    )
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    expect(plan).toMatch(/Index/)
    expect(plan).not.toMatch(new RegExp(`Seq Scan on ${nameOf(midnight(4))}`))
    expect(plan.match(/never executed|Subplans Removed/g)?.length ?? 0).toBeGreaterThan(0)
  })

  it('have their time from the id, to the millisecond, or none for an id of another kind', async () => {
    const ms = Date.UTC(2026, 4, 6, 7, 8, 9, 123)
    const { rows } = await store.pool.query<{ at: Date; other: Date | null; first: string }>(
      'select prediction_time($1) as at, prediction_time($2) as other, first_id_at($3) as first',
      [idAt(ms), randomUUID(), new Date(ms)],
    )
    expect(rows[0]!.at.getTime()).toBe(ms)
    expect(rows[0]!.other).toBeNull()
    expect(rows[0]!.first <= idAt(ms)).toBe(true)
    expect(rows[0]!.first > idAt(ms - 1)).toBe(true)
  })

  it('are deleted with it: outcomes, reviews, events, pairs, rows of the default partition, settled accounts', async () => {
    const outcome = (id: string, arrived: number) =>
      store.query(sql`insert into outcomes (prediction_id, value, observed_at, arrived_at)
        values (${id}, '1', now(), ${new Date(arrived).toISOString()})`)
    const [old, young, foreign, fresh] = [
      idAt(midnight(-91)),
      idAt(midnight(-89)),
      randomUUID(),
      randomUUID(),
    ]
    // A label may arrive late, so its prediction decides. For an id without a time, the arrival of its outcome decides.
    await outcome(old, Date.now())
    await outcome(young, Date.now())
    await outcome(foreign, midnight(-91))
    await outcome(fresh, Date.now())
    await store.query(sql`insert into models (name, definition, code_digest) values ('m', '{}', '')`)
    for (const [id, reviewedMs] of [
      [old, Date.now()],
      [young, Date.now()],
      [foreign, midnight(-91)],
      [fresh, Date.now()],
    ] as const)
      await store.query(sql`insert into reviews (prediction_id, model, value, reviewed_by, reviewed_at)
        values (${id}, 'm', '1', 'anna', ${new Date(reviewedMs).toISOString()})`)
    await insert(midnight(-91))
    const kept = await insert(midnight(-89))
    await store.query(sql`insert into shadow_pairs (model, release_id, prediction_id, served_version, shadow_version, served, shadow, entity, at)
      select 'm', 'r', gen_random_uuid(), 'a', 'b', '{}', '{}', 1, now() - make_interval(days => age) from unnest(array[91, 89]) as age`)
    await settleAccount(store, { account: 'old', served: 1 })
    await store.pool.query("update prediction_log_accounts set settled_at = now() - interval '91 days'")
    await settleAccount(store, { account: 'young', served: 1 })
    await store.query(sql`insert into events (id, digest, routing_key, name, value, occurred_at, arrived_at, source)
      select age::text, '', 'anna', 'purchase', 1, now() - make_interval(days => age), now() - make_interval(days => age), 'shop'
      from unnest(array[91, 89]) as age`)
    const forget = async (
      table:
        | 'events'
        | 'outcomes'
        | 'reviews'
        | 'predictions_default'
        | 'shadow_pairs'
        | 'prediction_log_accounts',
    ) => {
      let rows = 0
      for (let deleted = 1; deleted > 0; rows += deleted)
        deleted = await deleteExpiredRows(store, { table, keepDays: 90, limit: 1 })
      return rows
    }
    expect(await forget('outcomes')).toBe(2)
    expect(await forget('reviews')).toBe(2)
    expect(await forget('predictions_default')).toBe(1)
    expect(await forget('shadow_pairs')).toBe(1)
    expect(await forget('events')).toBe(1)
    expect(await forget('prediction_log_accounts')).toBe(1)
    const { rows } = await store.pool.query<{ id: string }>(
      'select prediction_id as id from outcomes union all select id from predictions',
    )
    const reviews = await store.pool.query<{ id: string }>('select prediction_id as id from reviews')
    expect(new Set(reviews.rows.map(({ id }) => id))).toEqual(new Set([young, fresh]))
    expect(new Set(rows.map(({ id }) => id))).toEqual(new Set([young, fresh, kept]))
  })
})
