/** Tests that a worker knows of a dead replica before a release waits for it. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { observeLeases } from '../../../activities/worker/observe-leases.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { createObservedLeases } from '../../../store/serving/observed-leases.ts'
import { renewLease, listRecentReplicas } from '../../../store/serving/replicas.ts'
import { migratedDatabase } from '../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { connectMs: 60_000, queryMs: 60_000 })
})
afterAll(() => store?.close())

it('a lease that a worker has observed for its length is over at the first read of a release', async () => {
  let now = 0
  const observed: Store = { ...store, leases: createObservedLeases(() => now) }
  const leaseMs = 60_000
  await renewLease(store, { replica: { id: 'dead', host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })
  const stopping = new AbortController()
  let reads = 0
  const counted: Store = {
    ...observed,
    query: (statement) => observed.query<never>(statement).finally(() => void reads++),
  }
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
  const observing = observeLeases({ store: counted, log }, stopping.signal)
  await expect.poll(() => reads).toBeGreaterThan(0)
  stopping.abort()
  await observing
  now = leaseMs
  const { live, silent } = await listRecentReplicas(observed, 'm')
  expect([live, silent.map(({ id }) => id)]).toEqual([[], ['dead']])
})
