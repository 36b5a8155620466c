/** Tests a watermark whose column has a value that no later value exceeds. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Deps } from '../../../activities/deps.ts'
import { lookAtWatermark } from '../../../activities/triggers/sensors.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openPatientStore(await migratedDatabase(), { max: 2 })
  await store.query(sql`create table orders (changed_at timestamptz, price float8)`)
  await store.query(sql`grant select on orders to tenure_reader`)
})
afterAll(() => store.close())

it.each([
  ['changed_at', 'infinity'],
  ['price', 'NaN'],
])(
  'a largest value of %s that is %s is an error, and a later value counts when it is corrected',
  async (column, value) => {
    const look = (before?: { mark: string | null }) =>
      lookAtWatermark({ store, config: {} } as Deps, { kind: 'watermark', table: 'orders', column }, before)
    await store.query(sql`truncate orders`)
    await store.query(sql`insert into orders values ('2026-01-01', 1)`)
    const { seen } = await look()
    await store.query(
      sql`insert into orders values (${column === 'price' ? null : value}, ${column === 'price' ? value : null})`,
    )
    await expect(look(seen)).rejects.toThrow(
      `the largest value of orders.${column} is ${value}, which no later row exceeds: correct that row`,
    )
    await store.query(sql`update orders set changed_at = '2026-01-02', price = 2`)
    expect(await look(seen)).toMatchObject({ news: { evidence: { before: seen.mark } } })
  },
)
