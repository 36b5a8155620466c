/** Tests the rollback of a model to the last proven version that can serve, which is already loaded or checked first. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findRouting } from '../../../store/serving/routing.ts'
import { rollBackModel } from '../../support/commands/roll-back.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})
const rollBack = (fixtureModel: FixtureModel) => rollBackModel(fixture, fixtureModel.name)
/** Registers three champions in turn, all proven. */
async function threeChampions(): Promise<{ fixtureModel: FixtureModel; versions: [string, string, string] }> {
  const fixtureModel = await fixture.model()
  const versions = [await fixtureModel.champion()]
  for (let i = 0; i < 2; i++) {
    const version = await fixtureModel.register(versions.at(-1))
    const release = await fixtureModel.start(version, { strategy: 'direct', probation: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
    versions.push(version)
  }
  return { fixtureModel, versions: versions as [string, string, string] }
}
const readsMore = (version: string) =>
  fixture.store.query(sql`
    update versions set manifest = jsonb_set(manifest, '{features,z}', '{"kind": "number"}') where version = ${version}`)

describe('the rollback of a model', () => {
  it('skips a version that cannot serve, with the reason, and keeps the next one warm', async () => {
    const { fixtureModel, versions } = await threeChampions()
    const [first, second, third] = versions
    expect((await findRouting(fixture.store, fixtureModel.name))!.route.standby).toBe(second)
    await readsMore(second)
    const outcome = await rollBack(fixtureModel)
    expect(outcome).toMatchObject({ outcome: 'rolled_back', from: third, to: first })
    expect(outcome.passedOver.join()).toContain(`${second}: it needs z, which callers need not send now`)
  })

  it('is refused with every reason when no version can serve', async () => {
    const { fixtureModel, versions } = await threeChampions()
    for (const version of versions.slice(0, 2)) await readsMore(version)
    const refused = (await rollBack(fixtureModel).catch((error: unknown) => error)) as Error
    expect(refused).toMatchObject({ code: 'no_rollback_target' })
    for (const version of versions.slice(0, 2)) expect(refused.message).toContain(`${version}: it needs z`)
  })

  it('checks a version that no replica keeps loaded, and skips one that cannot be loaded', async () => {
    const { fixtureModel, versions } = await threeChampions()
    const [first, second, third] = versions
    await fixture.store.query(
      sql`update routing set route = route - 'standby' where model = ${fixtureModel.name}`,
    )
    await fixture.store.query(
      sql`update versions set artifact_digest = ${`sha256:${'0'.repeat(64)}`} where version = ${second}`,
    )
    const outcome = await rollBack(fixtureModel)
    expect(outcome).toMatchObject({ outcome: 'rolled_back', from: third, to: first })
    expect(outcome.passedOver.join()).toMatch(new RegExp(`${second}: no key of this installation`))
  })
})
