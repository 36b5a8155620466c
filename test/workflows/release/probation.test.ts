/** Tests that a release rolls back a new champion during probation when the monitor raises an alarm. */
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts, resolveAlert, upsertAlert, type NewAlert } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  type FixtureModel,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture({
    databaseUrl: await migratedDatabase(),
    temporalAddress: temporalAddress(),
  })
})
afterAll(async () => {
  await fixture?.close()
})

/** Long enough that nothing but the alarm can end it. */
const probation = { holdbackBp: 1_000, minMs: 60_000, minRequests: 20, deadlineMs: 120_000 }

async function onProbation(): Promise<{
  fixtureModel: FixtureModel
  champion: string
  candidate: string
  release: Awaited<ReturnType<FixtureModel['start']>>
}> {
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.champion()
  const candidate = await fixtureModel.register(champion)
  const release = await fixtureModel.start(candidate, {
    strategy: 'blue_green',
    shadow: false,
    stages: [],
    probation,
  })
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  await release.reaches('probation')
  return { fixtureModel, champion, candidate, release }
}
const alarm = (model: string, version: string, change: Partial<NewAlert> = {}): NewAlert => ({
  dedupeKey: `quality_floor/${model}`,
  model,
  severity: 'critical',
  kind: 'quality_floor',
  message: `${version}: accuracy on matured outcomes is 0.79, the limit is 0.8`,
  evidence: { version },
  ...change,
})

it.each([
  ['its accuracy is below 80 %', {}],
  [
    'more than 2 % of its answers fail',
    { kind: 'service_errors', message: 'too many errors: 3 % > 2 %' } as const,
  ],
  [
    'its quality is lost',
    { kind: 'quality_lost', message: 'auc 0.61, at its evaluation 0.7, margin 0.005' } as const,
  ],
])('a champion on probation is rolled back when %s', async (_name, change) => {
  const { fixtureModel, champion, candidate, release } = await onProbation()
  const keys = {
    service_errors: `service/${fixtureModel.name}/errors`,
    quality_lost: `quality/${fixtureModel.name}`,
  }
  const key = 'kind' in change ? { dedupeKey: keys[change.kind] } : {}
  // Neither a warning, nor what is known of the version before, nor what is over, is a reason.
  await upsertAlert(
    fixture.store,
    alarm(fixtureModel.name, candidate, { ...change, ...key, severity: 'warning' }),
  )
  await upsertAlert(fixture.store, alarm(fixtureModel.name, champion, { ...change, ...key }))
  await resolveAlert(fixture.store, alarm(fixtureModel.name, candidate, key).dedupeKey)
  const before = (await listDecisions(fixture.store, release.id)).length
  await expect
    .poll(async () => (await listDecisions(fixture.store, release.id)).length)
    .toBeGreaterThan(before)
  expect((await release.state()).stage).toBe('probation')

  const { message } = alarm(fixtureModel.name, candidate, change)
  await upsertAlert(fixture.store, alarm(fixtureModel.name, candidate, { ...change, ...key }))
  expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason: message })
  expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
  const [last] = await listDecisions(fixture.store, release.id)
  expect(last?.verdict).toMatchObject({ kind: 'fail', reasons: [{ code: 'monitor_alarm' }, {}] })
})

describe('a champion whose schema differs from that of its predecessor', () => {
  const readsMore = (version: string) =>
    fixture.store.query(sql`
      update versions set manifest = jsonb_set(manifest, '{features,z}', '{"kind": "number"}') where version = ${version}`)
  /** By now its callers send what the champion before does not read. */
  async function widened() {
    const scene = await onProbation()
    await readsMore(scene.candidate)
    const incompatibility = `what callers of ${scene.candidate} send and read does not fit ${scene.champion}: it does not read z`
    return { ...scene, incompatibility }
  }

  it('is rolled back, and the alert names the changes that its clients need', async () => {
    const { fixtureModel, champion, candidate, release, incompatibility } = await widened()
    const found = alarm(fixtureModel.name, candidate)
    await upsertAlert(fixture.store, found)
    const reason = `${found.message}; ${incompatibility}`
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back', reason })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
    expect((await release.state()).rollbackResult).toMatchObject({
      champion,
      incompatibilities: ['it does not read z'],
    })
    const told = (await listAlerts(fixture.store, { model: fixtureModel.name, open: true })).find(
      ({ kind }) => kind === 'release_rolled_back',
    )
    expect(told?.message).toContain(reason)
  })

  it('raises no alert about clients if it was never champion', async () => {
    const fixtureModel = await fixture.model()
    const candidate = await fixtureModel.register(await fixtureModel.champion())
    await readsMore(candidate)
    const release = await fixtureModel.start(candidate, { shadow: false })
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('canary')
    await release.say('abort', 'anna', { reason: 'enough' })
    expect((await release.result()).reason).not.toContain('does not fit')
    expect((await release.state()).rollbackResult).not.toMatchObject({ incompatibilities: expect.anything() })
  })

  it('is rolled back when its workflow was terminated', async () => {
    const { fixtureModel, champion, release, incompatibility } = await widened()
    await release.handle.terminate()
    const after = await fixtureModel.start(await fixtureModel.register(champion))
    await after.reaches('awaiting_approval')
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
    expect(await findRelease(fixture.store, release.id)).toMatchObject({
      outcome: 'rolled_back',
      reason: `the workflow was terminated; ${incompatibility}`,
    })
    await after.say('abort', 'anna')
    await after.result()
  })
})
