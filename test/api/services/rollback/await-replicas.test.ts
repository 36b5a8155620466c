/** Tests what a rollback reports about replicas that start, stop or do not respond while it waits. */
import { spawnSync } from 'node:child_process'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { awaitRollbackOnReplicas } from '../../../../api/services/rollback/rollback-model.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { isAlive, thisProcess } from '../../../../store/process-identity.ts'
import {
  introduceReplica,
  observePeers,
  acknowledge,
  endLease,
  renewLease,
  listRecentReplicas,
} from '../../../../store/serving/replicas.ts'
import { migratedDatabase, uniqueName } from '../../../support/servers/servers.ts'

let store: Store
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { max: 4, connectMs: 60_000, queryMs: 60_000 })
})
afterAll(() => store?.close())

const join = (id: string, leaseMs: number) =>
  renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })

it('a replica that registers and ends the lease of its killed predecessor meanwhile leaves neither unnamed', async () => {
  const model = uniqueName('model')
  const [follower, killed, successor] = ['follower', 'killed', 'successor'].map(uniqueName) as [
    string,
    string,
    string,
  ]
  const place = { model, epoch: 1, generation: 2 }
  const machine = { machine: uniqueName('machine'), isAlive }
  const { pid } = spawnSync('true')
  await join(follower, 60_000)
  await acknowledge(store, { replica: follower, ...place })
  // Its lease is over, and no other replica of its machine has detected that the process is dead.
  await join(killed, 60_000)
  await introduceReplica(store, { ...machine, id: killed, process: `${pid}.1` })
  await acknowledge(store, { replica: killed, ...place, generation: 1 })
  await join(killed, -1_000)
  let reads = 0
  const interrupted: Store = {
    ...store,
    async query<T>(statement: Parameters<Store['query']>[0]) {
      const rows = await store.query<T & object>(statement)
      if (reads++ === 0) {
        await join(successor, 60_000)
        await introduceReplica(store, { ...machine, id: successor, process: thisProcess() })
      }
      return rows
    },
  }
  const replicas = await awaitRollbackOnReplicas(
    { store: interrupted, leaseMs: 1_000, known: [] },
    place,
    place,
  )
  expect(replicas).toMatchObject([
    { id: follower, state: 'follows' },
    { id: killed, state: 'cut_off' },
  ])
})

it('a replica that disappeared hours ago is named while it may serve the version, and a stopped replica is not', async () => {
  const model = uniqueName('model')
  const ids = ['follower', 'gone', 'fenced', 'stopped'].map(uniqueName) as [string, string, string, string]
  const [follower, gone, fenced, stopped] = ids
  const former = { model, epoch: 1, generation: 1 }
  const [place, unfencedBefore] = [
    { ...former, generation: 3 },
    { ...former, generation: 2 },
  ]
  for (const id of ids) await join(id, id === follower ? 60_000 : 1)
  for (const replica of [gone, stopped]) await acknowledge(store, { replica, ...former })
  await acknowledge(store, { replica: fenced, ...unfencedBefore })
  await acknowledge(store, { replica: follower, ...place })
  await endLease(store, stopped)
  await store.query(
    sql`update replicas set lease_until = lease_until - interval '26 hours' where id = any(${[gone, fenced]})`,
  )
  // Each replica does this every two seconds; the second time, it knows which leases are over.
  const isFoundGone = async () => {
    await observePeers(store, follower)
    const left = await store.query(
      sql`select from replicas where id = any(${[gone, fenced]}) and lease_ms > 0`,
    )
    return left.length === 0
  }
  await expect.poll(isFoundGone).toBe(true)
  const named = await awaitRollbackOnReplicas({ store, leaseMs: 0, known: [] }, place, unfencedBefore)
  expect(named.filter(({ id }) => ids.includes(id))).toEqual([
    { id: follower, host: 'h', state: 'follows', reason: undefined },
    { id: gone, host: 'h', state: 'cut_off', reason: 'its lease ended 26 h ago' },
  ])
  expect((await listRecentReplicas(store, model)).live.map(({ id }) => id)).not.toContain(gone)
})

it('the known replicas count as silent when Postgres stops responding', async () => {
  const away: Store = {
    ...store,
    query: () => Promise.reject(new DomainError('postgres_unavailable', 'Postgres did not answer')),
  }
  const known = [
    { id: 'api-1', host: 'a' },
    { id: 'api-2', host: 'b' },
  ]
  const place = { model: uniqueName('model'), epoch: 1, generation: 2 }
  expect(await awaitRollbackOnReplicas({ store: away, leaseMs: 0, known }, place, place)).toEqual(
    known.map((each) => ({ ...each, state: 'silent' })),
  )
})
