/** Tests the effect of evidence, or of its absence, on a release on the real servers: only good evidence promotes. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { insertDecision, listDecisions } from '../../../store/release/decisions.ts'
import { insertOutcomes } from '../../../store/monitoring/outcomes.ts'
import { insertPairs } from '../../../store/release/evidence.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { ownServers } from '../../support/servers/servers.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})
const short = { minMs: 150, minRequests: 20, deadlineMs: 600 }
const twoStages = [
  { ...short, shareBp: 1_000 },
  { ...short, shareBp: 5_000 },
]

/** Registers a model with a champion and a candidate. */
async function candidate(): Promise<{ fixtureModel: FixtureModel; first: string; version: string }> {
  const fixtureModel = await fixture.model()
  const first = await fixtureModel.champion()
  return { fixtureModel, first, version: await fixtureModel.register(first) }
}

async function approved(release: FixtureRelease): Promise<FixtureRelease> {
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return release
}

const shares = async (fixtureModel: FixtureModel) =>
  (await findRouting(fixture.store, fixtureModel.name))!.route.arms.map(({ version, shareBp }) => [
    version,
    shareBp,
  ])

it('a verdict against the candidate that another watch has stored ends a watch under way', async () => {
  const { fixtureModel, version } = await candidate()
  // Longer than a test may take.
  const stages = [{ ...short, minMs: 3_600_000, deadlineMs: 3_601_000, shareBp: 1_000 }]
  const release = await approved(await fixtureModel.start(version, { shadow: false, stages }))
  await release.reaches('canary')
  const looks = async () => (await listDecisions(fixture.store, release.id)).length
  await expect.poll(looks).toBeGreaterThan(0)
  const [last] = await listDecisions(fixture.store, release.id, 1)
  const reason = { code: 'guard', message: '4 of 9 canary requests failed', values: {} } as const
  await insertDecision(fixture.store, {
    ...last!,
    verdict: { ...last!.verdict, kind: 'fail', reasons: [reason] },
  })
  expect(await release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringContaining('4 of 9 canary requests failed') as string,
  })
})

describe('absence of evidence never promotes:', () => {
  it.each([
    ['a canary', { shadow: false, stages: twoStages } as const],
    ['a shadow', { shadow: { ...short, shareBp: 10_000 }, stages: twoStages } as const],
  ])('no requests at all in %s, which is no more than a warning', async (_where, changes) => {
    const { fixtureModel, first, version } = await candidate()
    fixtureModel.traffic.requests = 0
    const release = await approved(await fixtureModel.start(version, changes))
    const nothing = /no data at the deadline: no request yet in this stage, which began at \d{4}-/
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(nothing) as string,
    })
    const alerts = await listAlerts(fixture.store, { model: fixtureModel.name })
    expect(alerts.map(({ severity, message }) => [severity, nothing.test(message)])).toEqual([
      ['warning', true],
    ])
    expect(await shares(fixtureModel)).toEqual([[first, 10_000]])
    // There is no evidence against it, so it may be released again.
    expect(
      await fixture.store.query(sql`select rolled_back_at from versions where version = ${version}`),
    ).toEqual([{ rolled_back_at: null }])
  })

  it('counters that stop end the exposure, and then the release is rolled back', async () => {
    const { fixtureModel, version } = await candidate()
    const limits = { ...quickPolicy.limits, maxStaleMs: 500 }
    const watch = { ...quickPolicy.watch, exposureMs: 500 }
    const stages = [{ ...short, minMs: 60_000, deadlineMs: 61_000, shareBp: 1_000 }]
    const release = await approved(
      await fixtureModel.start(version, { shadow: false, stages, limits, watch }),
    )
    await release.reaches('canary')
    const exposed = async () => ((await findRouting(fixture.store, fixtureModel.name))?.exposureMs ?? 0) > 0
    await expect.poll(exposed).toBe(true)
    fixtureModel.traffic.counting = false
    await expect.poll(exposed).toBe(false)
    // An exposure may also expire because this machine is slow; the verdict about missing counters still arrives.
    const last = async () => (await listDecisions(fixture.store, release.id, 1))[0]?.verdict.kind
    await expect.poll(last).toBe('no_data')
    fixtureModel.traffic.counting = true
    await expect.poll(exposed).toBe(true)
    await release.say('abort', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })

  it('no live replica', async () => {
    const { fixtureModel, version } = await candidate()
    for (const id of fixture.fleet.replicas) fixture.fleet.dead.add(id)
    const live = async () => {
      await fixture.store.query(
        sql`update replicas set lease_until = clock_timestamp(), lease_ms = 1 where lease_until > clock_timestamp()`,
      )
      return fixture.store.query(sql`select id from replicas where lease_until > clock_timestamp()`)
    }
    await expect.poll(live).toEqual([])
    const watch = { ...quickPolicy.watch, acknowledgeMs: 200 }
    const release = await approved(
      await fixtureModel.start(version, { shadow: false, stages: twoStages, watch }),
    )
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringContaining('no replica is live') as string,
    })
    fixture.fleet.dead.clear()
  })
})

describe('too little evidence', () => {
  const stages = [{ ...short, minRequests: 1_000_000, shareBp: 1_000 }]

  it('requests an operator, who may pass the stage or extend it', async () => {
    const { fixtureModel, version } = await candidate()
    const release = await approved(
      await fixtureModel.start(version, { shadow: false, probation: false, stages }),
    )
    expect(await release.reaches('awaiting_decision')).toMatchObject({
      undecidedStage: 'canary',
      shareBp: 1_000,
    })
    expect(await release.say('approve', 'olga')).toMatchObject({ accepted: false })
    expect(await release.say('resume', 'anna')).toMatchObject({ accepted: true, stage: 'canary' })
    await release.reaches('awaiting_decision')
    expect(await release.say('approve', 'ben', { reason: 'quiet week' })).toMatchObject({ accepted: true })
    expect(await release.result()).toMatchObject({ outcome: 'promoted' })
  })

  it('rolls back without a reply, or on evidence against the candidate in the meantime', async () => {
    const { fixtureModel, version } = await candidate()
    const watch = { ...quickPolicy.watch, decisionMs: 300 }
    const quiet = await approved(await fixtureModel.start(version, { shadow: false, stages, watch }))
    expect(await quiet.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringContaining('no decision within') as string,
    })
    const again = await approved(await fixtureModel.start(version, { shadow: false, stages }))
    await again.reaches('awaiting_decision')
    fixtureModel.traffic.invalid.set(version, 0.6)
    expect(await again.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringContaining('canary requests invalid') as string,
    })
  })
})

describe('evidence against a candidate rolls it back', () => {
  it('in the shadow stage, before any request is served', async () => {
    const { fixtureModel, first, version } = await candidate()
    fixtureModel.traffic.invalid.set(version, 0.5)
    const release = await approved(await fixtureModel.start(version))
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
    const { state } = (await findRelease(fixture.store, release.id))!
    expect(state.routings.map((each) => each.stage)).toEqual(['shadow'])
    expect(await shares(fixtureModel)).toEqual([[first, 10_000]])
  })

  it('from outcomes: the champion was right where the candidate was wrong', async () => {
    const { fixtureModel, first, version } = await candidate()
    const release = await approved(
      await fixtureModel.start(version, {
        shadow: { shareBp: 10_000, minMs: 60_000, minRequests: 1, deadlineMs: 61_000 },
      }),
    )
    await release.reaches('shadow')
    const ids = Array.from({ length: 60 }, () => randomUUID())
    await insertPairs(
      fixture.store,
      ids.map((predictionId, entity) => ({
        model: fixtureModel.name,
        release: release.id,
        predictionId,
        servedVersion: first,
        shadowVersion: version,
        served: { probability: 1, label: true },
        shadow: { probability: 0, label: false },
        difference: 1,
        entity,
      })),
    )
    const observedAt = new Date().toISOString()
    await insertOutcomes(fixture.store, {
      outcomes: ids.map((predictionId) => ({ predictionId, value: true, observedAt })),
      source: 'test',
    })
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringContaining(
        '(Brier score in place of AUC) of 60 pairs is 1, of the champion 0',
      ) as string,
    })
  })

  it('on probation: the previous champion serves again, every replica has acknowledged, and an alert is raised', async () => {
    const { fixtureModel, first, version } = await candidate()
    const probation = { holdbackBp: 1_000, minMs: 60_000, minRequests: 20, deadlineMs: 61_000 }
    const release = await approved(
      await fixtureModel.start(version, { strategy: 'blue_green', shadow: false, stages: [], probation }),
    )
    await release.reaches('probation')
    await expect.poll(() => fixtureModel.traffic.answered.get(version) ?? 0).toBeGreaterThan(300)
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version })
    fixtureModel.traffic.invalid.set(version, 0.5)
    expect(await release.result()).toMatchObject({ outcome: 'rolled_back' })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: first })
    expect(await shares(fixtureModel)).toEqual([[first, 10_000]])
    const { rollbackResult } = (await findRelease(fixture.store, release.id))!.state
    expect(rollbackResult).toMatchObject({ champion: first, wasChampion: true })
    expect(rollbackResult!.acknowledgedMs).toBeGreaterThanOrEqual(rollbackResult!.orderedMs)
    expect(rollbackResult!.orderedMs).toBeGreaterThanOrEqual(rollbackResult!.decidedMs!)
    const [alert] = await listAlerts(fixture.store, { model: fixtureModel.name })
    expect(alert).toMatchObject({ kind: 'release_rolled_back', severity: 'critical' })
    // A version that was rolled back by evidence is not released again.
    const again = await fixtureModel.start(version)
    expect(await again.result()).toMatchObject({
      outcome: 'failed',
      reason: expect.stringContaining('has been rolled back') as string,
    })
  })
})

describe('replicas in a release', () => {
  it('that cannot follow block the stage by name, and the stage continues when they can', async () => {
    const { fixtureModel, version } = await candidate()
    const watch = { ...quickPolicy.watch, acknowledgeMs: 150 }
    fixtureModel.traffic.deaf.set('r2', 'the artifact could not be read')
    const release = await approved(await fixtureModel.start(version, { shadow: false, watch }))
    await expect
      .poll(async () => (await release.state()).blockedBy)
      .toEqual(['replica r2 on test: the artifact could not be read'])
    expect((await release.state()).routed).toBe(false)
    fixtureModel.traffic.deaf.clear()
    await release.reaches('canary', 1)
    await release.say('abort', 'anna')
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
  })
})
