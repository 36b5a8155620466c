/** Each strategy on the real Temporal and the real Postgres: promoted once, and taken back once. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import type { ReleaseState } from '../../../domain/release/state.ts'
import { findChampion } from '../../../store/registry/champions.ts'
import { listDecisions } from '../../../store/release/decisions.ts'
import { insertPairs } from '../../../store/release/shadow-pairs.ts'
import { findRelease } from '../../../store/release/releases.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { migratedDatabase, temporalAddress } from '../../support/servers/servers.ts'
import { until } from '../../support/serving/serving-fixture.ts'
import {
  openReleaseFixture,
  quickPolicy,
  type FixtureModel,
  type FixtureRelease,
  type PolicyChanges,
  type ReleaseFixture,
} from '../../support/release/release-fixture.ts'

let stage: ReleaseFixture
beforeAll(async () => {
  stage = await openReleaseFixture({
    databaseUrl: await migratedDatabase(),
    temporalAddress: temporalAddress(),
  })
})
afterAll(async () => {
  await stage?.close()
})

interface Scene {
  show: FixtureModel
  release: FixtureRelease
  champion: string
  candidate: string
}

/** A release of a second version that is approved. */
async function approved(changes: PolicyChanges): Promise<Scene> {
  const show = await stage.model()
  const champion = await show.champion()
  const candidate = await show.register(champion)
  const release = await show.start(candidate, changes)
  await release.reaches('awaiting_approval')
  await release.say('approve', 'anna')
  return { show, release, champion, candidate }
}
const arms = async ({ show }: Scene) => (await findRouting(stage.store, show.name))!.route.arms
const routings = async ({ release }: Scene): Promise<ReleaseState['routings']> =>
  (await findRelease(stage.store, release.id))!.state.routings
const taken = async (scene: Scene, reason: RegExp) => {
  expect(await scene.release.result()).toMatchObject({
    outcome: 'rolled_back',
    reason: expect.stringMatching(reason) as string,
  })
  expect(await findChampion(stage.store, scene.show.name)).toMatchObject({ version: scene.champion })
  expect(await arms(scene)).toEqual([{ arm: 'champion', version: scene.champion, shareBp: 10_000 }])
}
const promoted = async (scene: Scene) => {
  expect(await scene.release.result()).toMatchObject({ outcome: 'promoted' })
  expect(await findChampion(stage.store, scene.show.name)).toMatchObject({ version: scene.candidate })
}
/** Whoever pays attention all the time: what was seen of the routes of a model. */
async function watchRoutes<T>(
  { show }: Scene,
  look: (route: Awaited<ReturnType<typeof findRouting>>) => T,
  until: Promise<unknown>,
) {
  const seen: T[] = []
  let over = false
  void until.finally(() => (over = true)).catch(() => {})
  while (!over) {
    seen.push(look(await findRouting(stage.store, show.name)))
    await pause(10)
  }
  return seen
}

describe('direct', () => {
  const way: PolicyChanges = { strategy: 'direct', probation: false }
  it('is promoted once every replica has loaded it', async () => {
    const scene = await approved(way)
    await promoted(scene)
    expect((await routings(scene)).map((each) => [each.stage, each.shareBp])).toEqual([['promoting', 0]])
  })
  it('is taken back by a person', async () => {
    const show = await stage.model()
    const champion = await show.champion()
    show.traffic.deaf.set('r2', 'no memory left')
    const candidate = await show.register(champion)
    const release = await show.start(candidate, way)
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    await release.reaches('promoting')
    await release.say('abort', 'olga')
    show.traffic.deaf.clear()
    expect(await release.result()).toMatchObject({ outcome: 'aborted' })
    expect(await findChampion(stage.store, show.name)).toMatchObject({ version: champion })
  })
})

describe('blue_green', () => {
  const way: PolicyChanges = { strategy: 'blue_green', shadow: false, stages: [] }
  it('goes from 0 to 100 % at once, with both versions loaded before and after', async () => {
    const scene = await approved(way)
    await scene.release.reaches('probation')
    const { route } = (await findRouting(stage.store, scene.show.name))!
    expect(route.proven).toBe(scene.champion)
    await promoted(scene)
    expect((await routings(scene)).map((each) => [each.stage, each.shareBp])).toEqual([
      ['promoting', 0],
      ['probation', 9_000],
    ])
    // The way back stays warm when the release is over.
    expect((await findRouting(stage.store, scene.show.name))!.route.standby).toBe(scene.champion)
  })
  it('is not flipped while a replica cannot load it, and ends when none comes', async () => {
    const show = await stage.model()
    const champion = await show.champion()
    const candidate = await show.register(champion)
    const release = await show.start(candidate, {
      ...way,
      watch: { ...quickPolicy.watch, acknowledgeMs: 100 },
    })
    show.traffic.deaf.set('r2', 'no memory left')
    await release.reaches('awaiting_approval')
    await release.say('approve', 'anna')
    const scene = { show, release, champion, candidate }
    const seen = await watchRoutes(
      scene,
      (row) => row!.route.arms.map(({ version, shareBp }) => [version, shareBp]),
      release.reaches('rolling_back'),
    )
    show.traffic.deaf.clear()
    expect(seen.flat().filter(([version]) => version === candidate)).not.toContainEqual([candidate, 10_000])
    expect(await release.result()).toMatchObject({
      outcome: 'rolled_back',
      reason: expect.stringMatching(/no memory left/) as string,
    })
    expect(await findChampion(stage.store, show.name)).toMatchObject({ version: champion })
  })
  it('returns at once when its answers turn bad', async () => {
    const scene = await approved(way)
    scene.show.traffic.invalid.set(scene.candidate, 0.5)
    await taken(scene, /bad|invalid/)
    expect((await findRelease(stage.store, scene.release.id))!.state.rollbackResult).toMatchObject({
      wasChampion: true,
      champion: scene.champion,
    })
  })
})

describe('shadow', () => {
  const long = { shareBp: 10_000, minMs: 150, minRequests: 20, deadlineMs: 10_000 }
  const way: PolicyChanges = {
    strategy: 'shadow',
    shadow: long,
    stages: [],
    probation: false,
    limits: { ...quickPolicy.limits, nonInferiority: { margin: 0.2, logE: Math.log(20) } },
  }
  /** Requests that both have answered, with the outcome that shows who was right. */
  async function compared(
    { release, show, champion, candidate }: Scene,
    right: { champion: boolean; candidate: boolean },
    count: number,
  ) {
    const ids = Array.from({ length: count }, () => `${randomUUID().slice(0, 32)}0000`)
    await insertPairs(
      stage.store,
      ids.map((predictionId) => ({
        model: show.name,
        release: release.id,
        predictionId,
        servedVersion: champion,
        shadowVersion: candidate,
        served: { label: right.champion },
        shadow: { label: right.candidate },
        difference: 0,
      })),
    )
    for (const id of ids)
      await stage.store.query(sql`
        insert into outcomes (prediction_id, value, observed_at) values (${id}, 'true', now() - interval '1 minute')`)
  }
  it('is promoted by proof on paired answers, and no answer left the server before', async () => {
    const scene = await approved(way)
    await scene.release.reaches('shadow')
    const seen = watchRoutes(
      scene,
      (row) => row!.route.arms.map(({ version }) => version),
      scene.release.reaches('ended').catch(() => {}),
    )
    await compared(scene, { champion: true, candidate: true }, 200)
    await promoted(scene)
    expect((await seen).slice(0, 3).flat()).not.toContain(scene.candidate)
    const [last] = await listDecisions(stage.store, scene.release.id, 1)
    expect(last?.verdict.statistics['nonInferiorityLogE']).toBeGreaterThan(Math.log(20))
  })
  it('is taken back by the comparison', async () => {
    const scene = await approved(way)
    await scene.release.reaches('shadow')
    await compared(scene, { champion: true, candidate: false }, 200)
    await taken(scene, /the champion alone was right/)
  })
  it('ends without a proof as its policy says, and the version may come again', async () => {
    const scene = await approved({ ...way, shadow: { ...long, deadlineMs: 500 }, whenInconclusive: 'end' })
    expect(await scene.release.result()).toMatchObject({
      outcome: 'expired',
      reason: expect.stringMatching(/^inconclusive at the deadline: not proven yet/) as string,
    })
    const again = await scene.show.start(scene.candidate, way)
    await again.reaches('awaiting_approval')
    await again.say('reject', 'anna')
    expect(await again.result()).toMatchObject({ outcome: 'rejected' })
  })
})

describe('ab', () => {
  const split = { shareBp: 5_000, minMs: 150, minRequests: 20, deadlineMs: 8_000 }
  const way = (metric: 'accuracy' | 'errors', more: Partial<ReleasePolicy> = {}): PolicyChanges => ({
    strategy: 'ab',
    shadow: false,
    probation: false,
    stages: [split],
    ab: { metric, alpha: 0.05 },
    limits: { ...quickPolicy.limits, guardRate: 0.5 },
    ...more,
  })
  it('is promoted when the test on the declared metric is decided for it, at a split that never moves', async () => {
    const scene = await approved(way('errors'))
    scene.show.traffic.invalid.set(scene.champion, 0.1)
    await promoted(scene)
    expect((await routings(scene)).map((each) => [each.stage, each.shareBp])).toEqual([['canary', 5_000]])
    const [last] = await listDecisions(stage.store, scene.release.id, 1)
    expect(last?.verdict).toMatchObject({ kind: 'pass' })
    expect(last?.verdict.statistics['abBetterLogE']).toBeGreaterThan(Math.log(20))
  })
  it('among equals is not decided at the horizon, which ends it', async () => {
    const scene = await approved({
      ...way('errors', { whenInconclusive: 'end' }),
      stages: [{ ...split, deadlineMs: 600 }],
    })
    scene.show.traffic.invalid.set(scene.champion, 0.05)
    scene.show.traffic.invalid.set(scene.candidate, 0.05)
    await taken(scene, /inconclusive at the deadline: not decided yet/)
  })
  it('without any outcome is taken back for want of data', async () => {
    const scene = await approved({ ...way('accuracy'), stages: [{ ...split, deadlineMs: 500 }] })
    await taken(scene, /there is no matured outcome of accuracy/)
  })
  it('is taken back when its matured answers are wrong more often', async () => {
    const scene = await approved(way('accuracy'))
    await scene.release.reaches('canary')
    // Both are asked the same; the outcome is yes, and the candidate says no three times as often.
    const answer = async (version: string, count: number, wrong: number) => {
      for (let i = 0; i < count; i++) {
        const id = `${randomUUID().slice(0, 32)}0000`
        await stage.store.query(sql`
          insert into predictions (id, at, model, version, arm, release_id, generation, instances, features, outputs, latency_us)
          values (${id}, clock_timestamp(), ${scene.show.name}, ${version}, 'canary', ${scene.release.id}, 1, 1, '',
            ${[i < wrong ? 0.1 : 0.9]}::real[], 100)`)
        await stage.store.query(sql`
          insert into outcomes (prediction_id, value, observed_at) values (${id}, 'true', clock_timestamp())`)
      }
    }
    for (let round = 0; round < 6; round++) {
      await Promise.all([answer(scene.candidate, 50, 30), answer(scene.champion, 50, 10)])
      await pause(60)
    }
    await taken(scene, /wrong answers .* on the candidate/)
  })
})

describe('rolling', () => {
  const way: PolicyChanges = {
    strategy: 'rolling',
    shadow: false,
    stages: [{ ...quickPolicy.stages[0]!, shareBp: 5_000 }],
  }
  it('gives one whole replica after the other to the candidate', async () => {
    const scene = await approved(way)
    await scene.release.reaches('canary')
    await until(async () => (await routings(scene))[0]?.replicas?.length === 1, 'one replica', 20_000)
    await promoted(scene)
    const [first] = await routings(scene)
    expect(stage.fleet.replicas).toContain(first?.replicas?.[0])
    expect((await findRouting(stage.store, scene.show.name))!.route).not.toMatchObject({
      replicas: expect.anything(),
    })
  })
  it('is taken back by what the callers of that replica get', async () => {
    const scene = await approved(way)
    scene.show.traffic.invalid.set(scene.candidate, 0.5)
    await taken(scene, /bad|invalid/)
  })
})
