/** Tests two concurrent commands on one release: one wins, and writes one audit row. `npm run bench -- races` runs a thousand. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { verifyAudit } from '../../store/audit/audit-log.ts'
import { reached } from './figures.ts'
import { raceCommands, raceOpenings, racePromotion, runRaces } from '../support/races/races.ts'
import { seatChampion } from '../support/serving/seed-champion.ts'
import { ownServers } from '../support/servers/servers.ts'
import { openReleaseFixture, type ReleaseFixture } from '../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

it('one of two releases opened at once for a model is opened', async () => {
  const { issues, over } = await runRaces(100, () => raceOpenings(fixture))
  expect(issues).toEqual([])
  reached('F22', `${over} pairs of transactions, one opened in each`)
})

it('the baseline serves after a promotion against a rollback, in either order', async () => {
  const seen = new Set<string>()
  // A race that one side always wins does not test the other order, so it runs until each side has won.
  do {
    const { issues, winners } = await runRaces(100, () => racePromotion(fixture))
    expect(issues).toEqual([])
    for (const winner of winners.keys()) seen.add(winner)
  } while (seen.size < 2)
  expect([...seen].sort()).toEqual(['promote', 'rollback'])
})

it.each(['double approve', 'approve against reject', 'rollback against promote'] as const)(
  'a race of %s, by update to real releases, has one winner',
  async (kind) => {
    const { issues } = await runRaces(6, () => raceCommands(fixture, kind), { abreast: 3 })
    expect(issues).toEqual([])
  },
)

it('one of two releases started at once with the same workflow id runs', async () => {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.register()
  await seatChampion(fixture.store, fixtureModel.name, first)
  const versions = [await fixtureModel.register(first), await fixtureModel.register(first)]
  const started = await Promise.allSettled(versions.map((version) => fixtureModel.start(version)))
  expect(started.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  for (const each of started) {
    if (each.status === 'rejected') expect(String(each.reason)).toMatch(/already started/)
    else await each.value.handle.terminate()
  }
})

it('races leave a consistent audit', async () => {
  expect(await verifyAudit(fixture.store)).not.toMatchObject({ breach: expect.anything() })
})
