/** What a rollback tells of replicas that come, go and do not answer while it waits for them. */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { awaitReplicas } from '../../../../api/services/rollback/await-replicas.ts'
import { DomainError } from '../../../../domain/errors.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { isAlive, thisProcess } from '../../../../store/process-identity.ts'
import { introduceReplica } from '../../../../store/serving/replica-leases.ts'
import { acknowledge, renewLease } from '../../../../store/serving/replicas.ts'
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
  // Its lease is over, and no other replica of its machine has found its process dead yet.
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
  const replicas = await awaitReplicas({ store: interrupted, leaseMs: 1_000, known: [] }, place, place)
  expect(replicas).toMatchObject([
    { id: follower, state: 'follows' },
    { id: killed, state: 'cut_off' },
  ])
})

it('the known replicas are silent when Postgres answers no more', async () => {
  const away: Store = {
    ...store,
    query: () => Promise.reject(new DomainError('postgres_unavailable', 'Postgres did not answer')),
  }
  const known = [
    { id: 'api-1', host: 'a' },
    { id: 'api-2', host: 'b' },
  ]
  const place = { model: uniqueName('model'), epoch: 1, generation: 2 }
  expect(await awaitReplicas({ store: away, leaseMs: 0, known }, place, place)).toEqual(
    known.map((each) => ({ ...each, state: 'silent' })),
  )
})
