/** Tests the rollback of a model to the last proven version that can serve, which is already loaded or checked first. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { rollBackModel } from '../../support/commands/roll-back.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type PolicyChanges,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'
import { seatSecond } from '../../support/serving/seed-champion.ts'
import { until } from '../../support/serving/serving-fixture.ts'

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

const long = { minMs: 600_000, minRequests: 20, deadlineMs: 1_200_000 }
const stages: Readonly<Record<'shadow' | 'canary' | 'probation', PolicyChanges>> = {
  shadow: { shadow: { ...long, shareBp: 10_000 } },
  canary: { shadow: false, stages: [{ ...long, shareBp: 1_000 }] },
  probation: { strategy: 'blue_green', shadow: false, stages: [], probation: { ...long, holdbackBp: 500 } },
}

it.each([
  ['shadow', 'the model', 'superseded'],
  ['shadow', 'the candidate', 'rolled_back'],
  ['canary', 'the model', 'rolled_back'],
  ['canary', 'the champion', 'superseded'],
  ['probation', 'the model', 'rolled_back'],
] as const)(
  'a release in %s ends with the name of the user who has rolled back %s',
  async (stage, named, outcome) => {
    const model = await fixture.model()
    const [first, second] = [await model.register(), await model.register()]
    await seatSecond(fixture.store, { model: model.name, first, second })
    const candidate = await model.register(second)
    const release = await model.start(candidate, stages[stage])
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches(stage)
    await until(async () => (await release.state()).routed, 'the route of the stage')
    const from = { 'the model': undefined, 'the candidate': candidate, 'the champion': second }[named]
    await rollBackModel(fixture, model.name, { from })
    const said = outcome === 'superseded' ? `${second} was rolled back to ${first}` : 'rolled back'
    expect(await release.result()).toMatchObject({ outcome, reason: `${said} by olga: callers complain` })
    const alerts = await listAlerts(fixture.store, { model: model.name })
    const told = alerts.find(({ kind }) => kind === `release_${outcome}`)
    expect(told?.message).toContain(' by olga: callers complain')
  },
)
