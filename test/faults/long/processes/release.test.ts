/**
 * Tests faults of replicas, Temporal, Postgres and the watcher in the middle of a canary, on real processes under load: each release ends as
 * without the fault, no stage is skipped, no window is shortened, and the champion keeps serving.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { totalBp } from '../../../../domain/serving/route.ts'
import { findChampion } from '../../../../store/registry/champions.ts'
import { findRelease } from '../../../../store/release/releases.ts'
import { findRouting } from '../../../../store/serving/routing.ts'
import {
  traffic,
  expectPromoted,
  exposureMs,
  kill,
  lastResponseMs,
  startCanaryRelease,
  canaryModel,
  canaryFixturePolicy,
  setUpCanaryFixture,
  system,
} from '../../../support/release/canary-fixture.ts'
import { expectWithinLease, reached } from '../../figures.ts'
import { nextRoute } from '../../../support/serving/registration.ts'

setUpCanaryFixture()

it('a kill of an API replica under load: the release is promoted, and only requests in flight fail', async () => {
  const { release, version } = await startCanaryRelease()
  const restarted = kill('api-2')
  await expectPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(traffic.failures.every(({ url }) => url === system.urls[1])).toBe(true)
  await expect.poll(async () => (await fetch(`${system.urls[1]}/readyz`)).status).toBe(200)
})

it('a kill of Temporal: the release is promoted, and no request fails', async () => {
  const { release, version } = await startCanaryRelease()
  const restarted = kill('temporal')
  await expectPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(traffic.failures).toEqual([])
})

it('a kill of Postgres: the release is promoted, and no request fails', async () => {
  const { release, version } = await startCanaryRelease()
  const restarted = kill('postgres')
  await expectPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(traffic.failures).toEqual([])
})

it('a watcher that is killed: the candidate is withdrawn within the lease, and no window is shortened after its return', async () => {
  const { release, version, champion } = await startCanaryRelease()
  const before = system.supervision.pidOf('control')
  const from = performance.now()
  system.signal('control', 'SIGKILL')
  await expect.poll(() => system.supervision.pidOf('control') ?? before).not.toBe(before)
  // The supervisor has started a new worker, which is held back before it begins.
  system.signal('control', 'SIGSTOP')
  try {
    const lastMs = await lastResponseMs(version, champion, from, exposureMs + 1_000)
    expectWithinLease(lastMs, exposureMs)
    reached(
      'F2',
      `last answer ${lastMs} ms after the kill (lease ${exposureMs} ms), then promoted in full windows`,
    )
  } finally {
    system.signal('control', 'SIGCONT')
  }
  await expectPromoted(release, version)
  expect(traffic.failures).toEqual([])
})

it('counters that cannot be written: the candidate is withdrawn after too long a silence, and promoted only on new counters', async () => {
  const { release, version, champion } = await startCanaryRelease()
  const silentMs = canaryFixturePolicy.limits.maxStaleMs
  const from = performance.now()
  // Uses a separate connection, because a transaction of the system would lose its lock after this time.
  const hand = await system.store.pool.connect()
  await hand.query('begin; lock table tick_counters in exclusive mode')
  const lastMs = await lastResponseMs(version, champion, from, silentMs + exposureMs + 1_000)
  expectWithinLease(lastMs, silentMs + exposureMs)
  expect((await findRelease(system.store, release.id))?.state).toMatchObject({ stage: 'canary' })
  reached(
    'F36',
    `last answer ${lastMs} ms after the counters stopped (silence ${silentMs} + lease ${exposureMs} ms)`,
  )
  await hand.query('rollback')
  hand.release()
  await expectPromoted(release, version)
})

it('a frozen watcher that resumes after another writer has changed the routing is fenced and audited', async () => {
  const { release, version, champion } = await startCanaryRelease()
  system.signal('control', 'SIGSTOP')
  try {
    const { route } = (await findRouting(system.store, canaryModel))!
    const all = [{ arm: 'champion' as const, version: champion, shareBp: totalBp }]
    await nextRoute(system.store, canaryModel, { salt: route.salt, proven: champion, arms: all })
    await pause(exposureMs)
  } finally {
    system.signal('control', 'SIGCONT')
  }
  expect(await release.result()).toMatchObject({ outcome: 'superseded' })
  const fenced = await system.store.query(sql`
      select actor, subject, detail ->> 'write' as write from audit
      where action = 'write.fenced' and subject = ${release.id}`)
  expect(fenced).toContainEqual({ actor: 'release', subject: release.id, write: 'exposure' })
  expect(await findChampion(system.store, canaryModel)).toMatchObject({ version: champion })
  traffic.reset()
  await expect.poll(() => traffic.answered.get(champion) ?? 0).toBeGreaterThan(100)
  expect(traffic.answered.get(version)).toBeUndefined()
  expect(traffic.failures).toEqual([])
})
