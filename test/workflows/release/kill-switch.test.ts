/** Tests that a kill switch holds a release of its model with a reason, and that clearing it continues the release. */
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { MockActivityEnvironment } from '@temporalio/testing'
import { nextEffect } from '../../../domain/release/next-effect.ts'
import { saveRelease } from '../../../store/release/releases.ts'
import { promote } from '../../../activities/release/promote.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { writeKillSwitch } from '../../../store/serving/kill-switches.ts'
import type { KillSwitchMode } from '../../../domain/serving/kill-switch.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { ownServers } from '../../support/servers/servers.ts'

let fixture: ReleaseFixture
let model: FixtureModel
let champion: string
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
  model = await fixture.model()
  champion = await model.champion()
})
afterAll(async () => {
  await fixture?.close()
})
/** The only stage, long enough that a switch arrives in time. */
const stages = [{ shareBp: 5_000, minMs: 800, minRequests: 20, deadlineMs: 20_000 }]
const set = (serve: KillSwitchMode) =>
  writeKillSwitch(fixture.store, { model: model.name, serve, reason: 'it looks wrong', actor: 'olga' })
const start = async (changes = {}): Promise<FixtureRelease> => {
  const release = await model.start(await model.register(champion), changes)
  await release.reaches('awaiting_approval')
  return release
}
/** Waits until the stage is routed and followed, so that it is watched. */
const watched = async (release: FixtureRelease) => {
  await release.reaches('canary', 0)
  await expect.poll(async () => (await release.state()).routed).toBe(true)
}
const decision = async ({ id }: FixtureRelease) => (await listDecisions(fixture.store, id, 1))[0]?.verdict

it('a watched stage does not pass while the kill switch is set, and passes on its evidence afterwards', async () => {
  const release = await start({ shadow: false, probation: false, stages })
  await release.say('approve', 'anna')
  await watched(release)
  await set('champion')
  await expect
    .poll(() => decision(release))
    .toMatchObject({
      kind: 'no_data',
      reasons: expect.arrayContaining([
        {
          code: 'kill_switch',
          message: expect.stringMatching(/is pinned to its champion by olga since .*\(it looks wrong\)/),
          values: {},
        },
      ]),
    })
  const { stageIndex } = await release.state()
  // More than the stage would need, with counters in favour of the candidate.
  await pause(2 * stages[0]!.minMs)
  expect(await release.state()).toMatchObject({ stage: 'canary', stageIndex })
  await set('normal')
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  champion = (await release.state()).version
})

it('a stage that has not begun is not routed while the kill switch is set, and the state reports the reason', async () => {
  await set('champion')
  const release = await start({
    shadow: false,
    probation: false,
    watch: { ...quickPolicy.watch, acknowledgeMs: 100 },
  })
  await release.say('approve', 'anna')
  await expect
    .poll(async () => (await release.state()).blockedBy.join())
    .toMatch(/is pinned to its champion by olga/)
  expect((await release.state()).routed).toBe(false)
  await set('normal')
  expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  champion = (await release.state()).version
})

it('a kill switch that stays set ends the release as an expired pause does', async () => {
  const release = await start({
    shadow: false,
    probation: false,
    stages,
    watch: { ...quickPolicy.watch, decisionMs: 600 },
  })
  await release.say('approve', 'anna')
  await watched(release)
  await set('champion')
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(/no data at the deadline: .* is pinned to its champion by olga/),
  })
  await set('normal')
})

it('no candidate is promoted while the kill switch is set', async () => {
  const release = await start()
  await release.handle.terminate()
  await set('fallback')
  const promoting = { ...(await release.state()), stage: 'promoting' as const, routed: true }
  await saveRelease(fixture.store, promoting)
  const step = { release: release.id, step: nextEffect(promoting).key, seen: 0 }
  expect(await new MockActivityEnvironment().run(promote(fixture.deps), step)).toMatchObject({
    promoted: false,
    rollbackOrder: { reason: expect.stringMatching(/is pinned to its fallback by olga/) },
  })
  await set('normal')
})
