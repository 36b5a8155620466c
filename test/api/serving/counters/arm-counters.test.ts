/** Tests the counters of replicas, including the shadow's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClock } from '../../../../api/serving/clock.ts'
import { createCounterRegistry, type ArmCounters } from '../../../../api/serving/counters/arm-counters.ts'
import { findTicks } from '../../../../store/release/evidence.ts'
import {
  openServingFixture,
  request,
  replicaOfTest,
  threeVersions,
  until,
  type ServingFixture,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const replicaOf = () => replicaOfTest(fixture)

/** Opens the counters of arms. `count` counts a slow response to the same caller. */
function countedArms(releases: readonly string[], of: readonly ('champion' | 'canary' | 'shadow')[]) {
  const registry = createCounterRegistry(createClock())
  const arms = releases.flatMap((release) =>
    of.map((arm) =>
      registry.open({
        model: `model of ${release}`,
        version: `ver_${arm}`,
        arm,
        release,
        generation: 1,
        lengthMs: 10_000,
        quiet: false,
        slow95Us: 1_000,
        slow99Us: Infinity,
        answerBins: 0,
      }),
    ),
  )
  return { arms, count: (arm: ArmCounters) => registry.count(arm, 2_000, 'one caller') }
}

describe('the counters', () => {
  it('count a caller once in ten seconds, and its requests after the first failure as repeats', () => {
    let wallMs = 1_000_000
    const registry = createCounterRegistry(
      createClock(
        () => wallMs,
        () => wallMs,
      ),
    )
    const arm = registry.open({
      model: 'm',
      version: 'm_v1.0.0',
      arm: 'champion',
      release: undefined,
      generation: 1,
      lengthMs: 10_000,
      quiet: false,
      slow95Us: Infinity,
      slow99Us: Infinity,
      answerBins: 0,
    })
    const ask = (key: string | undefined, bad?: 'errors') => registry.count(arm, 1, key, bad)
    const counted = () => [arm.requests, arm.errors, arm.failedCallers, arm.repeats]
    for (const bad of [undefined, 'errors', 'errors', undefined] as const) ask('ann', bad)
    for (const bad of ['errors', 'errors', undefined] as const) ask(undefined, bad)
    ask('bob')
    expect(counted()).toEqual([8, 4, 3, 2])
    wallMs += 10_000
    ask('ann')
    ask('ann', 'errors')
    expect(counted()).toEqual([10, 5, 4, 2])
  })

  it('of a breaker that has opened are stored before their tick ends, and once the whole tick has', () => {
    let wallMs = 1_000_000
    let isOpen = false
    const registry = createCounterRegistry(
      createClock(
        () => wallMs,
        () => wallMs,
      ),
    )
    const arm = registry.open({
      model: 'm',
      version: 'm_v1.1.0',
      arm: 'canary',
      release: 'rel_1',
      generation: 1,
      lengthMs: 10_000,
      quiet: false,
      slow95Us: Infinity,
      slow99Us: Infinity,
      isDropped: () => isOpen,
      answerBins: 0,
    })
    const stored = () =>
      registry.closed.map(({ tickMs, requests, breakerOpen }) => [tickMs, requests, breakerOpen])
    registry.count(arm, 1, 'ann', 'errors')
    registry.closeTick()
    expect(stored()).toEqual([])
    isOpen = true
    registry.closeTick()
    registry.count(arm, 1, 'bob', 'errors')
    registry.closeTick()
    expect(stored()).toEqual([[1_000_000, 1, true]])
    wallMs += 10_000
    registry.closeTick()
    expect(stored()).toEqual([[1_000_000, 2, true]])
    wallMs += 1_000
    registry.closeTick()
    expect(stored()).toHaveLength(1)
  })

  it('equal the responses, arm by arm, over generations and replicas', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replicas = [await replicaOf(), await replicaOf()]
    const sent = new Map<string, number>()
    for (const share of [1_000, 4_000]) {
      const route = await fixture.route(model, canary(share), 60_000)
      for (const replica of replicas) {
        await replica.follows(route)
        for (let i = 0; i < 700; i++) {
          const { arm, version, generation } = replica.ask(model, request(`key ${i}`))
          const key = `${arm} ${version} ${generation}`
          sent.set(key, (sent.get(key) ?? 0) + 1)
        }
      }
    }
    for (const replica of replicas) await replica.stop()
    const counted = new Map<string, number>()
    for (const tick of await findTicks(fixture.store, `rel_${model}`)) {
      const key = `${tick.arm} ${tick.version} ${tick.generation}`
      counted.set(key, (counted.get(key) ?? 0) + tick.requests)
    }
    expect(counted).toEqual(sent)
    expect([...sent.keys()].sort()).toEqual(
      [1, 2]
        .flatMap((generation) => [`canary ${candidate} ${generation}`, `champion ${champion} ${generation}`])
        .sort(),
    )
  })

  it('write empty ticks for an arm without requests, so that silence and idleness differ', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, canary(1), 60_000))
    await until(async () => (await findTicks(fixture.store, `rel_${model}`)).length >= 4, 'ticks')
    const ticks = await findTicks(fixture.store, `rel_${model}`)
    expect(new Set(ticks.map(({ version }) => version))).toEqual(new Set([champion, candidate]))
    expect(ticks.every(({ requests, lengthMs }) => requests === 0 && lengthMs === 50)).toBe(true)
  })

  it('count many invalid responses to one client once, and to fifty clients fifty times', async () => {
    const { model, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, canary(10_000), 60_000))
    replica.serving.routing.find(model)!.complete.arms[0]!.loaded.invalidShare = 1
    const fail = (key: string) => expect(() => replica.ask(model, request(key))).toThrow(/invalid prediction/)
    for (let i = 0; i < 30; i++) fail('one caller')
    for (let i = 0; i < 50; i++) fail(`caller ${i}`)
    await replica.stop()
    const ticks = await findTicks(fixture.store, `rel_${model}`)
    const sum = (of: 'requests' | 'invalid' | 'errors') =>
      ticks.filter(({ version }) => version === candidate).reduce((total, tick) => total + tick[of], 0)
    expect([sum('requests'), sum('invalid'), sum('errors')]).toEqual([80, 51, 0])
  })

  it('count a slow response of the shadow although the champion has answered the same request slowly', () => {
    const { arms, count } = countedArms(['rel_a'], ['champion', 'shadow'])
    for (let i = 0; i < 3; i++) for (const arm of arms) count(arm)
    expect(arms.map(({ slow95 }) => slow95)).toEqual([1, 1])
  })

  it('count repeated bad responses to one client once, however many releases are open', () => {
    const { arms, count } = countedArms(
      Array.from({ length: 40 }, (_, i) => `rel_${i}`),
      ['canary'],
    )
    for (let i = 0; i < 3; i++) for (const arm of arms) count(arm)
    expect(new Set(arms.map(({ slow95 }) => slow95))).toEqual(new Set([1]))
  })

  it('count a response as slow if it is slower than the champion before the release', async () => {
    const { model, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    const slow = { ...canary(10_000), latencyUs: { p95: 0, p99: 1_000_000_000 } }
    await replica.follows(await fixture.route(model, slow, 60_000))
    for (let i = 0; i < 40; i++) replica.ask(model, request(`key ${i}`))
    const written = () => findTicks(fixture.store, `rel_${model}`)
    await until(
      async () => (await written()).reduce((total, tick) => total + tick.requests, 0) === 40,
      'the counts',
    )
    await replica.stop()
    const ticks = await written()
    expect(ticks.reduce((total, tick) => total + tick.slow95, 0)).toBe(40)
    expect(ticks.reduce((total, tick) => total + tick.slow99, 0)).toBe(0)
  })
})

describe('the shadow', () => {
  it('predicts copies of requests, paired with the responses', async () => {
    const { model, champion, candidate } = await threeVersions(fixture)
    const replica = await replicaOf()
    const route = await fixture.route(
      model,
      {
        proven: champion,
        release: `rel_${model}`,
        tickMs: 50,
        shadow: { version: candidate, shareBp: 10_000 },
      },
      60_000,
    )
    await replica.follows(route)
    const given = Array.from({ length: 60 }, (_, i) => replica.ask(model, request(`key ${i}`)))
    expect(new Set(given.map(({ version }) => version))).toEqual(new Set([champion]))
    await until(() => replica.serving.shadow.counts().answered === 60, 'the copies')
    const read = async () =>
      (await fixture.store.pool.query('select * from shadow_pairs where release_id = $1', [`rel_${model}`]))
        .rows
    await until(async () => (await read()).length === 60, 'the pairs')
    const [pair] = await read()
    expect(pair).toMatchObject({ model, served_version: champion, shadow_version: candidate })
    const match = given.find(({ predictions }) => predictions[0]!.id === pair.prediction_id)!
    expect({ ...pair.served, probabilities: pair.served.probabilities.map(Math.fround) }).toEqual({
      label: match.predictions[0]!.label,
      probabilities: Object.values(match.predictions[0]!.probabilities!).map(Math.fround),
    })
    expect(pair.difference).toBeGreaterThan(0)
    await replica.stop()
    const ticks = await findTicks(fixture.store, `rel_${model}`)
    const shadow = ticks.filter(({ arm }) => arm === 'shadow')
    expect(shadow.reduce((total, { requests }) => total + requests, 0)).toBe(60)
  })

  it('that fails is counted and affects no response', async () => {
    const { model, champion, candidate } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(
      await fixture.route(
        model,
        { proven: champion, release: `rel_${model}`, shadow: { version: candidate, shareBp: 10_000 } },
        60_000,
      ),
    )
    const { shadow } = replica.serving.routing.find(model)!.complete
    shadow!.arm.loaded.predictor.run = () => {
      throw new Error('out of order')
    }
    for (let i = 0; i < 1_500; i++) expect(replica.ask(model, request(`key ${i}`)).version).toBe(champion)
    const waiting = replica.serving.shadow.counts()
    expect(waiting.waiting).toBe(1_000)
    expect(waiting.dropped).toBe(500)
    await until(() => replica.serving.shadow.counts().waiting === 0, 'the queue')
    // A tick takes what was counted before it, so the stored ticks have all of it only after the end.
    await replica.stop()
    const ticks = await findTicks(fixture.store, `rel_${model}`)
    const errors = ticks.filter(({ arm }) => arm === 'shadow').reduce((sum, tick) => sum + tick.errors, 0)
    expect(errors).toBe(1_000)
  })

  it('receives no more copies than fit into its memory limit', async () => {
    const { model, champion, candidate } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(
      await fixture.route(
        model,
        { proven: champion, release: 'rel_s', shadow: { version: candidate, shareBp: 10_000 } },
        60_000,
      ),
    )
    const { predict, native, shadow } = replica.serving
    const body = Buffer.from(JSON.stringify(request('key')).padEnd(8_000_000))
    for (let i = 0; i < 10; i++) void predict(native, { model, body })
    expect(shadow.counts()).toMatchObject({ waiting: 8, dropped: 2 })
    await until(() => shadow.counts().waiting === 0, 'the queue')
    void predict(native, { model, body })
    expect(shadow.counts()).toMatchObject({ waiting: 1, dropped: 2 })
    shadow.discard(model)
    for (let i = 0; i < 8; i++) void predict(native, { model, body })
    expect(shadow.counts()).toMatchObject({ waiting: 8, dropped: 3 })
  })
})
