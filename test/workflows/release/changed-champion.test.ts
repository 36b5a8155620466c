/** Tests on real servers that a release which awaits approval ends when its champion changes, by whichever road. */
import { pino } from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBasisWatch } from '../../../activities/worker/lost-basis.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { markKnownGood, moveChampion } from '../../../store/registry/champions.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

const how = {
  rollback: (from: string, to: string) => `${from} was rolled back to ${to} by bob: complaints`,
  promotion: (from: string, to: string) => `the champion is now ${to}, the release was built on ${from}`,
}

it.each(['rollback', 'promotion'] as const)(
  'a %s of the champion ends the waiting release, with its alert, and an approval hears why',
  async (cause) => {
    const { store, client } = fixture
    const model = await fixture.model(quickPolicy)
    const from = await model.champion()
    const [first, to] = [await model.register(from), await model.register(from)]
    const open = await model.start(first, { shadow: false })
    await open.reaches('awaiting_approval')
    const watch = createBasisWatch({ store, log: pino({ enabled: false }) }, client)
    await watch()
    expect((await open.state()).stage).toBe('awaiting_approval')

    await markKnownGood(store, to)
    await moveChampion(store, { model: model.name, from, to, cause, actor: 'bob', reason: 'complaints' })
    await watch()
    await watch()
    const { outcome, reason } = await open.result()
    expect({ outcome, reason }).toEqual({
      outcome: 'superseded',
      reason: `Champion changed: ${how[cause](from, to)}. Make another with \`tenure retrain ${model.name}\``,
    })
    const kinds = (await listAlerts(store, { model: model.name, open: true })).map(({ kind }) => kind)
    expect(kinds).toEqual(['release_superseded'])
    await expect(open.say('approve', 'anna')).rejects.toThrow()
  },
)
