/** Tests a rollback while the clock of Postgres is changed: it waits for a cut-off replica exactly as long as that replica may serve. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { awaitRollbackOnReplicas } from '../../../../api/services/rollback/rollback-model.ts'
import { planPostgres, type RunningServer, startServer } from '@tenure/embedded'
import { systemEnvironment } from '../../../../temporal.config.ts'
import { openStore, type Store } from '../../../../store/postgres.ts'
import { observePeers, acknowledge, endLease, renewLease } from '../../../../store/serving/replicas.ts'
import { canSkew, clockMaker, type WallClock } from '../../../support/servers/clock-skew.ts'
import { placePostgres } from '../../../support/servers/own-servers.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

const hourMs = 3_600_000
const leaseMs = 1_500
const root = mkdtempSync(join(tmpdir(), 'tenure-clock-'))
chmodSync(root, 0o711)
let postgres: RunningServer
let clock: WallClock
let store: Store

describe.skipIf(!canSkew())('a rollback while a replica is cut off and the clock of Postgres', () => {
  beforeAll(async () => {
    const dataDir = join(root, 'postgres')
    await placePostgres(dataDir)
    clock = clockMaker(root)('postgres')
    const planned = await planPostgres({ dataDir })
    const spec = { ...planned, env: { ...systemEnvironment(), ...clock.environment } }
    postgres = await startServer(spec)
    store = openStore(planned.url, { connectMs: 60_000, queryMs: 60_000 })
  })
  afterAll(async () => {
    await store?.close()
    await postgres?.stop()
    rmSync(root, { recursive: true })
  })

  const takeLease = (id: string) =>
    renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })

  it.each([
    ['is set ahead by five minutes', hourMs / 12],
    ['is set ahead by a day', 24 * hourMs],
    ['is set back by a day', -24 * hourMs],
  ])('%s waits for the lease of the replica', async (_name, aheadMs) => {
    clock.set(0)
    const [follower, cut] = [uniqueName('follower'), uniqueName('cut')]
    const place = { model: uniqueName('model'), epoch: 1, generation: 2 }
    await takeLease(follower)
    await acknowledge(store, { replica: follower, ...place })
    const renewedAt = performance.now()
    await takeLease(cut)
    expect((await observePeers(store, follower)).map(({ id }) => id)).toEqual([cut])
    clock.set(aheadMs)
    // Each replica does this every two seconds.
    await observePeers(store, follower)
    await takeLease(follower)
    const replicas = await awaitRollbackOnReplicas({ store, leaseMs: 60_000, known: [] }, place, undefined)
    expect(performance.now() - renewedAt).toBeGreaterThanOrEqual(leaseMs)
    expect(replicas).toMatchObject([
      { id: cut, state: 'fenced' },
      { id: follower, state: 'follows' },
    ])
    for (const id of [follower, cut]) await endLease(store, id)
  })
})
