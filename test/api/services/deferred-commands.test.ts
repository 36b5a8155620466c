/** Tests commands to a release while Temporal is unreachable. See `test/faults/long/network/command-outbox.test.ts` for crashes. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { openOutboxFixture, type OutboxFixture } from '../../support/release/outbox-fixture.ts'
import { uniqueName } from '../../support/servers/servers.ts'

let office: OutboxFixture
beforeAll(async () => {
  office = await openOutboxFixture()
})
afterAll(async () => {
  await office?.close()
})

it('a deferred approval is recorded once with its audit row, is listed, and counts when it is delivered', async () => {
  const { toTemporal, approve, show, count, deliver, fixture } = office
  const { id } = await office.waiting()
  toTemporal.cut()
  const once = uniqueName('once')
  const first = await approve('anna', id, { reason: 'looked at it' }, once)
  expect(first).toMatchObject({
    status: 202,
    json: {
      release: id,
      command: 'approve',
      state: 'waiting',
      message: expect.stringMatching(/as soon as Temporal answers/) as string,
    },
  })
  const command = String(first.json['id'])
  const path = `/v1/commands/${command}`
  expect(first.headers.get('location')).toBe(path)
  // The delivery becomes due with the response, or not at all.
  const together = await fixture.store.query<{ transactions: number }>(sql`
    select count(distinct by)::int as transactions from (
      select xmin::text as by from commands where id = ${command}
      union all select xmin::text from idempotent_requests where name = ${once}) as rows having count(*) = 2`)
  expect(together).toEqual([{ transactions: 1 }])
  const again = await approve('anna', id, { reason: 'looked at it' }, once)
  expect(again).toMatchObject({ status: 202, json: first.json })
  expect([await count(id), await count(id, 'command.recorded')]).toEqual([1, 1])
  expect(await show(path)).toMatchObject({ state: 'waiting', actor: 'anna', reason: 'looked at it' })
  expect((await show(`/v1/releases/${id}`))['recorded']).toMatchObject([
    { command: 'approve', state: 'waiting' },
  ])
  // Temporal is still away.
  expect(await deliver()).toBe(false)
  expect(await show(path)).toMatchObject({ state: 'waiting', problem: expect.stringMatching(/./) as string })
  toTemporal.mend()
  await office.send(command)
  await office.answered(command)
  expect(await show(path)).toMatchObject({
    state: 'delivered',
    accepted: true,
    stage: 'awaiting_approval',
    message: 'approved by anna, 1 of 2',
  })
  expect((await show(`/v1/releases/${id}`))['recorded']).toEqual([])
  expect(await count(id, 'release.approve')).toBe(1)
})
