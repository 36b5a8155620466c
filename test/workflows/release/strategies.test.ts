/** Tests each strategy on the real Temporal and Postgres: promoted once, and rolled back once. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { listAlerts } from '../../../store/monitoring/alerts.ts'
import { insertPairs } from '../../../store/release/evidence.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { ownServers } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type PolicyChanges,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let fixture: ReleaseFixture
beforeAll(async () => {
  fixture = await openReleaseFixture(await ownServers())
})
afterAll(async () => {
  await fixture?.close()
})

interface StartedRelease {
  fixtureModel: FixtureModel
  release: FixtureRelease
  champion: string
  candidate: string
}

/** Starts and approves a release of a second version. */
async function approved(changes: PolicyChanges): Promise<StartedRelease> {
  const fixtureModel = await fixture.model()
  const champion = await fixtureModel.champion()
  const candidate = await fixtureModel.register(champion)
  const release = await fixtureModel.start(candidate, changes)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return { fixtureModel, release, champion, candidate }
}
const arms = async ({ fixtureModel }: StartedRelease) =>
  (await findRouting(fixture.store, fixtureModel.name))!.route.arms
const routings = async ({ release }: StartedRelease): Promise<ReleaseState['routings']> =>
  (await findRelease(fixture.store, release.id))!.state.routings
const taken = async (started: StartedRelease, reason: RegExp) => {
  expect(await started.release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(reason) as string,
  })
  expect(await findChampion(fixture.store, started.fixtureModel.name)).toMatchObject({
    version: started.champion,
  })
  expect(await arms(started)).toEqual([{ arm: 'champion', version: started.champion, shareBp: 10_000 }])
}
const promoted = async (started: StartedRelease) => {
  expect(await started.release.result()).toMatchObject({ outcome: 'promoted' })
  expect(await findChampion(fixture.store, started.fixtureModel.name)).toMatchObject({
    version: started.candidate,
  })
}
/** Polls the routes of a model until `until` resolves. */
async function watchRoutes<T>(
  { fixtureModel }: StartedRelease,
  look: (route: Awaited<ReturnType<typeof findRouting>>) => T,
  until: Promise<unknown>,
) {
  const seen: T[] = []
  let over = false
  void until.finally(() => (over = true)).catch(() => {})
  while (!over) {
    seen.push(look(await findRouting(fixture.store, fixtureModel.name)))
    await pause(10)
  }
  return seen
}

describe('strategy direct', () => {
  const way: PolicyChanges = { strategy: 'direct', probation: false }
  it('is promoted once every replica has loaded it', async () => {
    const started = await approved(way)
    await promoted(started)
    expect((await routings(started)).map((each) => [each.stage, each.shareBp])).toEqual([['promoting', 0]])
  })
  it('is rolled back by an operator', async () => {
    const fixtureModel = await fixture.model()
    const champion = await fixtureModel.champion()
    fixtureModel.traffic.deaf.set('r2', 'no memory left')
    const candidate = await fixtureModel.register(champion)
    const release = await fixtureModel.start(candidate, way)
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('promoting')
    await release.say('abort', 'olga')
    fixtureModel.traffic.deaf.clear()
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
  })
})

describe('strategy blue_green', () => {
  const way: PolicyChanges = { strategy: 'blue_green', shadow: false, stages: [] }
  it('goes from 0 to 100 % at once, with both versions loaded before and after', async () => {
    const started = await approved(way)
    await started.release.reaches('probation')
    const { route } = (await findRouting(fixture.store, started.fixtureModel.name))!
    expect(route.proven).toBe(started.champion)
    await promoted(started)
    expect((await routings(started)).map((each) => [each.stage, each.shareBp])).toEqual([
      ['promoting', 0],
      ['probation', 9_000],
    ])
    // The rollback target stays loaded when the release is over.
    expect((await findRouting(fixture.store, started.fixtureModel.name))!.route.standby).toBe(
      started.champion,
    )
  })
  it('is not switched while a replica cannot load the candidate, and ends at the deadline', async () => {
    const fixtureModel = await fixture.model()
    const champion = await fixtureModel.champion()
    const candidate = await fixtureModel.register(champion)
    const release = await fixtureModel.start(candidate, {
      ...way,
      watch: { ...quickPolicy.watch, acknowledgeMs: 1_000 },
    })
    fixtureModel.traffic.deaf.set('r2', 'no memory left')
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    const started = { fixtureModel, release, champion, candidate }
    const seen = await watchRoutes(
      started,
      (row) => row!.route.arms.map(({ version, shareBp }) => [version, shareBp]),
      release.reaches('rolling_back'),
    )
    fixtureModel.traffic.deaf.clear()
    expect(seen.flat().filter(([version]) => version === candidate)).not.toContainEqual([candidate, 10_000])
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/no memory left/) as string,
    })
    expect(await findChampion(fixture.store, fixtureModel.name)).toMatchObject({ version: champion })
  })
  it('rolls back at once on bad responses', async () => {
    const started = await approved(way)
    started.fixtureModel.traffic.invalid.set(started.candidate, 0.5)
    await taken(started, /bad|invalid/)
    expect((await findRelease(fixture.store, started.release.id))!.state.rollbackResult).toMatchObject({
      wasChampion: true,
      champion: started.champion,
    })
  })
})

describe('strategy shadow', () => {
  const long = { shareBp: 10_000, minMs: 150, minRequests: 20, deadlineMs: 60_000 }
  const way: PolicyChanges = {
    strategy: 'shadow',
    shadow: long,
    stages: [],
    probation: false,
    limits: { ...quickPolicy.limits, nonInferiority: { margin: 0.2, logE: Math.log(20) } },
  }
  /** Inserts requests that both versions answered, with the outcome that shows which was right. */
  async function compared(
    { release, fixtureModel, champion, candidate }: StartedRelease,
    right: { champion: boolean; candidate: boolean },
    count: number,
  ) {
    const ids = Array.from({ length: count }, () => `${randomUUID().slice(0, 32)}0000`)
    await insertPairs(
      fixture.store,
      ids.map((predictionId, entity) => ({
        model: fixtureModel.name,
        release: release.id,
        predictionId,
        servedVersion: champion,
        shadowVersion: candidate,
        served: { probability: Number(right.champion), label: right.champion },
        shadow: { probability: Number(right.candidate), label: right.candidate },
        difference: 0,
        entity,
      })),
    )
    await fixture.store.query(sql`
      insert into outcomes (prediction_id, value, observed_at)
      select id::uuid, 'true', now() - interval '1 minute' from unnest(${ids}::text[]) as id`)
  }
  it('is promoted by a proof on paired predictions, and serves no prediction before', async () => {
    const started = await approved(way)
    await started.release.reaches('shadow')
    const seen = watchRoutes(
      started,
      (row) => row!.route.arms.map(({ version }) => version),
      started.release.reaches('ended').catch(() => {}),
    )
    await compared(started, { champion: true, candidate: true }, 200)
    await promoted(started)
    expect((await seen).slice(0, 3).flat()).not.toContain(started.candidate)
    const [last] = await listDecisions(fixture.store, started.release.id, 1)
    expect(last?.verdict.statistics['nonInferiorityLogE']).toBeGreaterThan(Math.log(20))
  })
  it('is rolled back by the comparison', async () => {
    const started = await approved(way)
    await started.release.reaches('shadow')
    await compared(started, { champion: true, candidate: false }, 200)
    await taken(
      started,
      /^the mean loss \(Brier score in place of AUC\) of 200 pairs is 1, of the champion 0: logE/,
    )
  })
  it('ends without a proof as its policy says, and the version can be released again', async () => {
    const started = await approved({
      ...way,
      shadow: { ...long, deadlineMs: 2_000 },
      whenInconclusive: 'end',
    })
    expect(await started.release.result()).toMatchObject({
      outcome: 'expired',
      reason: expect.stringMatching(/^inconclusive at the deadline: not yet proven/) as string,
    })
    const [alert] = await listAlerts(fixture.store, { model: started.fixtureModel.name })
    expect(alert?.message).toContain(`${started.candidate} expired in shadow: inconclusive`)
    const again = await started.fixtureModel.start(started.candidate, way)
    await again.reaches('awaiting_approval')
    await again.say('reject', 'anna')
    expect(await again.result()).toMatchObject({ outcome: 'rejected' })
  })
})

describe('strategy ab', () => {
  const split = { shareBp: 5_000, minMs: 150, minRequests: 20, deadlineMs: 60_000 }
  const way = (metric: 'accuracy' | 'errors', more: Partial<ReleasePolicy> = {}): PolicyChanges => ({
    strategy: 'ab',
    shadow: false,
    probation: false,
    stages: [split],
    ab: { metric, alpha: 0.05 },
    limits: { ...quickPolicy.limits, guardRate: 0.5 },
    ...more,
  })
  it('is promoted when the test on the declared metric favours the candidate, at a constant split', async () => {
    const started = await approved(way('errors'))
    started.fixtureModel.traffic.invalid.set(started.champion, 0.1)
    await promoted(started)
    expect((await routings(started)).map((each) => [each.stage, each.shareBp])).toEqual([['canary', 5_000]])
    const [last] = await listDecisions(fixture.store, started.release.id, 1)
    expect(last?.verdict).toMatchObject({ kind: 'pass' })
    expect(last?.verdict.statistics['abBetterLogE']).toBeGreaterThan(Math.log(20))
  })
  it('ends undecided at the horizon when the versions are equal', async () => {
    const started = await approved({
      ...way('errors', { whenInconclusive: 'end' }),
      stages: [{ ...split, deadlineMs: 2_000 }],
    })
    started.fixtureModel.traffic.invalid.set(started.champion, 0.05)
    started.fixtureModel.traffic.invalid.set(started.candidate, 0.05)
    await taken(started, /inconclusive at the deadline: undecided/)
  })
  it('is rolled back for lack of data without outcomes', async () => {
    const started = await approved({ ...way('accuracy'), stages: [{ ...split, deadlineMs: 500 }] })
    await taken(started, /no matured outcomes of both arms/)
  })
  it('is rolled back when its matured predictions are wrong more often', async () => {
    const started = await approved(way('accuracy'))
    await started.release.reaches('canary')
    // Both receive the same requests; the outcome is yes, and the candidate says no three times as often.
    const answer = async (version: string, count: number, wrong: number) => {
      const ids = Array.from({ length: count }, () => `${randomUUID().slice(0, 32)}0000`)
      await fixture.store.query(sql`
        with asked as (select id::uuid, place from unnest(${ids}::text[]) with ordinality as asked (id, place)),
          predicted as (
            insert into predictions (id, at, model, version, arm, release_id, generation, instances, features, outputs, latency_us)
            select id, clock_timestamp(), ${started.fixtureModel.name}, ${version}, 'canary', ${started.release.id}, 1, 1, '',
              array[case when place <= ${wrong} then 0.1 else 0.9 end]::real[], 100
            from asked)
        insert into outcomes (prediction_id, value, observed_at) select id, 'true', clock_timestamp() from asked`)
    }
    for (let round = 0; round < 6; round++) {
      await Promise.all([answer(started.candidate, 50, 30), answer(started.champion, 50, 10)])
      await pause(60)
    }
    await taken(started, /wrong predictions .* on the candidate/)
  })
})

describe('strategy rolling', () => {
  const way: PolicyChanges = {
    strategy: 'rolling',
    shadow: false,
    stages: [{ ...quickPolicy.stages[0]!, shareBp: 5_000 }],
  }
  it('moves one whole replica after the other to the candidate', async () => {
    const started = await approved(way)
    await started.release.reaches('canary')
    await until(async () => (await routings(started))[0]?.replicas?.length === 1, 'one replica')
    await promoted(started)
    const [first] = await routings(started)
    expect(fixture.fleet.replicas).toContain(first?.replicas?.[0])
    expect((await findRouting(fixture.store, started.fixtureModel.name))!.route).not.toMatchObject({
      replicas: expect.anything(),
    })
  })
  it('is rolled back by the responses of that replica', async () => {
    const started = await approved(way)
    started.fixtureModel.traffic.invalid.set(started.candidate, 0.5)
    await taken(started, /bad|invalid/)
  })
})

describe('a canary with targeted callers', () => {
  const target = { header: { name: 'x-preview', value: 'on' } }
  const way: PolicyChanges = {
    shadow: false,
    targeted: { target, minMs: 150, minRequests: 20, deadlineMs: 60_000 },
    stages: [quickPolicy.stages[1]!],
    probation: false,
  }
  it('serves targeted callers first, counts them separately and is promoted', async () => {
    const started = await approved(way)
    const seen = watchRoutes(
      started,
      (row) => row?.route.targeted?.version,
      started.release.reaches('canary'),
    )
    await promoted(started)
    expect((await routings(started)).map((each) => [each.stage, each.shareBp])).toEqual([
      ['targeted', 0],
      ['canary', 5_000],
    ])
    expect(await seen).toContain(started.candidate)
    const passed = (await listDecisions(fixture.store, started.release.id)).find(
      ({ stage }) => stage === 'targeted',
    )
    expect(passed).toMatchObject({
      verdict: {
        kind: 'pass',
        reasons: [{ message: expect.stringMatching(/requests of targeted callers/) as string }],
      },
      inputs: { canary: { requests: 0 }, targeted: { requests: expect.any(Number) as number } },
    })
    expect((await findRouting(fixture.store, started.fixtureModel.name))!.route.targeted).toBeUndefined()
  })
  it('is rolled back by their failures', async () => {
    const started = await approved(way)
    started.fixtureModel.traffic.invalid.set(started.candidate, 0.5)
    await taken(started, /candidate requests (failed|invalid)/)
    expect((await routings(started)).map(({ stage }) => stage)).toEqual(['targeted'])
  })
})
