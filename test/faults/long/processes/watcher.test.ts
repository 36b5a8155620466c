/** Tests a watch that is handed back, frozen or ended from outside, and a stopped Temporal, in the middle of a canary. */
import { setTimeout as pause } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { verifyAudit } from '../../../../store/audit/audit-log.ts'
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
  setUpCanaryFixture,
  system,
} from '../../../support/release/canary-fixture.ts'
import { expectWithinLease, reached, temporalFreshMs } from '../../figures.ts'

setUpCanaryFixture()

it('a control worker hands its watch back on SIGTERM', async () => {
  const { release, version } = await startCanaryRelease()
  const restarted = kill('control', 'SIGTERM')
  await expectPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(traffic.failures).toEqual([])
})

it('a frozen Temporal ends the exposure, because no rollback is possible; the release is promoted after recovery', async () => {
  const { release, version, champion } = await startCanaryRelease()
  const from = performance.now()
  system.signal('temporal', 'SIGSTOP')
  try {
    // The watch notices within a second that Temporal does not respond; the lease runs from its last look.
    const lastMs = await lastResponseMs(version, champion, from, exposureMs + temporalFreshMs + 1_000)
    expectWithinLease(lastMs, exposureMs + temporalFreshMs)
    reached(
      'F15',
      `Temporal frozen: last answer of the candidate after ${lastMs} ms (lease ${exposureMs} ms)`,
    )
  } finally {
    system.signal('temporal', 'SIGCONT')
  }
  await expectPromoted(release, version)
  expect(traffic.failures).toEqual([])
})

it('a release whose workflow is terminated is closed by the worker, and the champion serves', async () => {
  const { release, champion } = await startCanaryRelease()
  const from = performance.now()
  await release.handle.terminate('by hand')
  await expect
    .poll(async () => (await findRelease(system.store, release.id))?.outcome, { interval: 250 })
    .toBe('failed')
  reached(
    'F39',
    `terminated mid-canary: closed as interrupted after ${Math.round((performance.now() - from) / 1000)} s`,
  )
  expect(await findChampion(system.store, canaryModel)).toMatchObject({ version: champion })
  expect((await findRouting(system.store, canaryModel))!.route.arms).toHaveLength(1)
  expect(await verifyAudit(system.store)).not.toMatchObject({ breach: expect.anything() })
})

it('a frozen watcher exposes no request to the candidate after its lease, and continues when it resumes', async () => {
  const { release, version, champion } = await startCanaryRelease()
  system.signal('control', 'SIGSTOP')
  try {
    await pause(exposureMs + 1_000)
    traffic.reset()
    await expect.poll(() => traffic.answered.get(champion) ?? 0).toBeGreaterThan(100)
    expect([...traffic.answered.keys()]).toEqual([champion])
  } finally {
    system.signal('control', 'SIGCONT')
  }
  await expectPromoted(release, version)
  expect(traffic.failures).toEqual([])
})
