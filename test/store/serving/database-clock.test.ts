/**
 * Tests when a replica counts as gone while the database clock is set ahead: its lease follows the clock of the process, as in a rollback.
 */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { acknowledgeKillSwitch, issuesOfKillSwitch } from '../../../store/serving/kill-switches.ts'
import { createObservedLeases } from '../../../store/serving/observed-leases.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import {
  insertErasure,
  acknowledgeErasures,
  listOutstanding,
  listUnacknowledged,
} from '../../../store/privacy/erasures.ts'
import { endLease, renewLease } from '../../../store/serving/replicas.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

const leaseMs = 5_000
let opened: Store
let store: Store
let now: number
beforeAll(async () => {
  opened = openStore(await migratedDatabase(), { connectMs: 60_000, queryMs: 60_000 })
})
afterAll(() => opened?.close())

/** Registers two replicas, of which `cut` has acknowledged nothing, and then sets the database clock a day ahead. */
async function clockAhead(): Promise<void> {
  now = 0
  store = { ...opened, leases: createObservedLeases(() => now) }
  await store.query(sql`delete from replicas`)
  for (const id of ['cut', 'follower', 'stopped']) {
    await renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })
    await store.query(
      sql`update replicas set lease_until = lease_until - interval '1 day' where id = ${id} and id <> 'follower'`,
    )
  }
  await endLease(store, 'stopped')
}

it.each(['champion', 'normal', 'fallback', 'refuse'] as const)(
  'a kill switch set to %s waits for a replica that is cut off until its lease is over',
  async (serve) => {
    await clockAhead()
    const flag = { model: 'm', revision: 2, serve }
    await acknowledgeKillSwitch(store, { replica: 'follower', model: 'm', revision: 2 })
    await acknowledgeKillSwitch(store, { replica: 'cut', model: 'm', revision: 1 })
    const late = [{ text: 'replica cut on h is at revision 1 of 2', isLive: true }]
    expect(await issuesOfKillSwitch(store, flag)).toEqual(late)
    now = leaseMs - 1
    expect(await issuesOfKillSwitch(store, flag)).toEqual(late)
    now = leaseMs
    const isLive = (await issuesOfKillSwitch(store, flag)).map((each) => each.isLive)
    expect(isLive).not.toContain(true)
  },
)

it('an erasure waits for a replica that is cut off until its lease is over', async () => {
  await clockAhead()
  expect(await listOutstanding(store, 'era_1')).toEqual(['cut', 'follower'])
  now = leaseMs
  await renewLease(store, { replica: { id: 'follower', host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })
  expect(await listOutstanding(store, 'era_1')).toEqual(['follower'])
})

it('an erasure that is requested again waits until a replica has stored what it has served since', async () => {
  await clockAhead()
  await store.query(sql`insert into models (name, definition, code_digest) values ('m', '{}', 'c')`)
  const ask = () =>
    insertErasure(store, {
      id: 'era_2',
      model: 'm',
      subjectHash: 'h',
      isNumber: false,
      keyDigest: 'k',
      predictionIds: [],
      requestedBy: 'root',
    })
  const acknowledge = (settled: Awaited<ReturnType<typeof listUnacknowledged>>) =>
    acknowledgeErasures(store, { replica: 'cut', settled })
  await ask()
  const read = await listUnacknowledged(store, 'cut')
  await acknowledge(read)
  expect(await listOutstanding(store, 'era_2')).toEqual(['follower'])
  expect(await listUnacknowledged(store, 'cut')).toEqual([])
  await ask()
  // What the replica had read and stored before does not count.
  await acknowledge(read)
  expect(await listOutstanding(store, 'era_2')).toEqual(['cut', 'follower'])
  await acknowledge(await listUnacknowledged(store, 'cut'))
  expect(await listOutstanding(store, 'era_2')).toEqual(['follower'])
})
