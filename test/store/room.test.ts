/** Room for connections: told before anything starts, by what asks for how many. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { expectRoom, pools } from '../../store/room.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { freshDatabase } from '../support/servers.ts'

let store: Store
let most: number
beforeAll(async () => {
  store = openStore(await freshDatabase())
  const { rows } = await store.pool.query<{ most: number }>(
    `select current_setting('max_connections')::integer as most`,
  )
  most = rows[0]!.most
})
afterAll(() => store.close())

it('is four fifths of what Postgres allows, and not one more', async () => {
  const whole = Math.floor(most * 0.8)
  await expectRoom(store, { replicas: { processes: whole, connections: 1 } })
  await expect(
    expectRoom(store, {
      replicas: { processes: whole, connections: 1 },
      workers: { processes: 1, connections: 1 },
    }),
  ).rejects.toMatchObject({
    code: 'configuration_invalid',
    message: expect.stringMatching(
      new RegExp(
        `^the processes may open ${whole + 1} connections .*workers 1 × 1\\), more than 80 % .* of ${most};`,
      ),
    ) as string,
  })
})

it('suffices on the embedded server for four replicas', async () => {
  const sum = 4 * (pools.api + pools.listeners) + pools.control + pools.train + pools.commands
  expect(sum).toBeLessThanOrEqual(120 * 0.8)
  await expectRoom(store, { all: { processes: 1, connections: sum } })
})
