/** Tests whole releases on the real Temporal and Postgres, in seconds instead of days, because all durations are policy. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { listAudit, verifyAudit } from '../../../store/audit/audit-log.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { ownServers } from '../../support/servers/servers.ts'
import { openReleaseFixture, type ReleaseFixture } from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('a release promotes a good candidate: approvals, shadow, shares, promotion, probation', async () => {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.releasedChampion()
  const candidate = await fixtureModel.register(first)
  const release = await fixtureModel.start(candidate)
  await release.reaches('awaiting_approval')
  expect(await release.say('approve', 'anna')).toMatchObject({ accepted: true })
  expect(await release.result()).toMatchObject({ outcome: 'promoted', version: candidate })
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({
    version: candidate,
    releaseId: release.id,
  })
  const { route } = (await findRouting(fixture.store, fixtureModel.name))!
  expect(route).toMatchObject({
    arms: [{ arm: 'champion', version: candidate, shareBp: 10_000 }],
    proven: candidate,
  })
  const row = (await findRelease(fixture.store, release.id))!
  expect(row.state.routings.map((each) => [each.stage, each.shareBp])).toEqual([
    ['shadow', 10_000],
    ['canary', 1_000],
    ['canary', 5_000],
    ['probation', 9_000],
  ])
  const kinds = new Set((await listDecisions(fixture.store, release.id)).map(({ verdict }) => verdict.kind))
  expect(kinds.has('pass')).toBe(true)
  expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
  const actions = (await listAudit(fixture.store, { model: fixtureModel.name }))
    .map(({ action }) => action)
    .reverse()
  expect(actions.slice(actions.lastIndexOf('release.opened'))).toEqual([
    'release.opened',
    'command.recorded',
    'release.approve',
    'routing.changed',
    'routing.changed',
    'routing.changed',
    'champion.promoted',
    'release.ended',
  ])
})

it('a release rolls back a candidate with bad responses', async () => {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.releasedChampion()
  const candidate = await fixtureModel.register(first)
  fixtureModel.traffic.invalid.set(candidate, 0.5)
  const release = await fixtureModel.start(candidate, { shadow: false })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
  const { route } = (await findRouting(fixture.store, fixtureModel.name))!
  expect(route.arms).toEqual([{ arm: 'champion', version: first, shareBp: 10_000 }])
})
