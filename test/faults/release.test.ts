/**
 * Tests kill -9 of the control worker in the middle of a canary, on real processes under load: each release ends as without the kill. Faults
 * of the other processes are in long/processes/release.test.ts.
 */
import { expect, it } from 'vitest'
import { writeFaults } from '../../store/serving/replicas.ts'
import {
  traffic,
  expectPromoted,
  kill,
  startCanaryRelease,
  setUpCanaryFixture,
  system,
} from '../support/release/canary-fixture.ts'

setUpCanaryFixture()

it('a kill of the control worker: the release is promoted, and no request fails', async () => {
  const { release, version } = await startCanaryRelease()
  const restarted = kill('control')
  await expectPromoted(release, version)
  expect(restarted()).toBe(true)
  expect(traffic.failures).toEqual([])
})

it('a kill of the control worker with a bad candidate: the release is rolled back', async () => {
  const { release, champion, version } = await startCanaryRelease()
  const restarted = kill('control')
  await writeFaults(system.store, { [version]: { invalidShare: 0.5 } })
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
  expect(restarted()).toBe(true)
  traffic.reset()
  await expect.poll(() => traffic.answered.get(champion) ?? 0).toBeGreaterThan(100)
  expect([...traffic.answered.keys()]).toEqual([champion])
  await writeFaults(system.store, {})
})
