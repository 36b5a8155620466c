/** Tests the choice of arms on a real database, with real replicas in this process. */
import { isDeepStrictEqual } from 'node:util'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { armOf, buildLive } from '../../../../api/serving/routing/route-table.ts'
import { createClock } from '../../../../api/serving/clock.ts'
import { parseRow } from '../../../../api/serving/routing/route-follower.ts'
import { createCounterRegistry } from '../../../../api/serving/counters/arm-counters.ts'
import { loadVersion, type LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { armOfKey, type Route, type RouteArm } from '../../../../domain/serving/route.ts'
import { renewExposure, readRouting, type RoutingRow } from '../../../../store/serving/routing.ts'
import { writeKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { writeFaults, listReplicaProgress, laggingReplicas } from '../../../../store/serving/replicas.ts'
import { irisSpec, artifactManifest, topologyOf, weightsOf } from '../../../support/serving/artifact.ts'
import {
  openServingFixture,
  request,
  replicaOfTest,
  threeVersions,
  until,
  type ServingFixture,
  type ReplicaOptions,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const replicaOf = (options?: ReplicaOptions) => replicaOfTest(fixture, options)

const versionsOf = (replica: TestReplica, model: string, keys: number) =>
  new Set(Array.from({ length: keys }, (_, i) => replica.ask(model, request(`key ${i}`)).version))
const readPairs = (release: string) =>
  fixture.store.query<{ shadow_version: string }>(
    sql`select shadow_version from shadow_pairs where release_id = ${release}`,
  )
async function rowsOnce<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  let value = await read()
  await until(async () => holds((value = await read())), 'the rows')
  return value
}
const acknowledged = async (route: Route) => {
  const followers = await listReplicaProgress(fixture.store, route.model)
  return laggingReplicas(followers, route)
}

describe('an arm', () => {
  const spec = irisSpec()
  const none = { digest: `sha256:${'0'.repeat(64)}`, bytes: 0 }
  const load = (version: string): LoadedVersion =>
    loadVersion(version, artifactManifest(spec, { 'model.json': none, 'weights.bin': none }), {
      'model.json': Buffer.from(JSON.stringify(topologyOf(spec))),
      'weights.bin': weightsOf(spec.layers),
    })
  const versions = new Map(['a', 'b', 'c'].map((version) => [version, load(version)]))
  const route = (arms: RouteArm[], salt = 'release 7'): Route => ({
    model: 'iris',
    epoch: 1,
    generation: 1,
    salt,
    arms,
    proven: 'a',
  })
  const tableOf = (of: Route) => buildLive(of, versions, createCounterRegistry(createClock())).complete
  const keys = Array.from({ length: 100_000 }, (_, i) => `customer ${i}`)

  it('equals the choice of the domain function, for 100,000 keys', () => {
    const three = route([
      { arm: 'canary', version: 'b', shareBp: 700 },
      { arm: 'control', version: 'c', shareBp: 300 },
      { arm: 'champion', version: 'a', shareBp: 9_000 },
    ])
    const table = tableOf(three)
    for (const key of keys) expect(armOf(table, key).arm).toBe(armOfKey(three, key).arm)
  })

  it('is sticky, and a larger share moves no key back to the champion', () => {
    const canaries = [0, 1, 100, 500, 2_500, 5_000, 10_000].map((shareBp) => {
      const table = tableOf(
        route([
          { arm: 'canary', version: 'b', shareBp },
          { arm: 'champion', version: 'a', shareBp: 10_000 - shareBp },
        ]),
      )
      return new Set(keys.filter((key) => armOf(table, key).arm === 'canary'))
    })
    expect(canaries[0]?.size).toBe(0)
    expect(canaries.at(-1)?.size).toBe(keys.length)
    canaries.slice(1).forEach((larger, index) => {
      for (const key of canaries[index]!) expect(larger.has(key)).toBe(true)
    })
    // 500 bp of 100,000: within 3.3 standard deviations of 5,000.
    expect(Math.abs(canaries[3]!.size - 5_000)).toBeLessThan(230)
  })
})

describe('a replica', () => {
  it('follows a route, acknowledges it, and gives the same key the same arm as another replica', async () => {
    const { model, canary, candidate } = await threeVersions(fixture)
    const [one, two] = [await replicaOf(), await replicaOf()]
    const route = await fixture.route(model, canary(3_000), 60_000)
    await Promise.all([one.follows(route), two.follows(route)])
    await until(async () => {
      const live = (await listReplicaProgress(fixture.store, model)).map(({ id }) => id)
      return live.includes(one.id) && live.includes(two.id) && (await acknowledged(route)).length === 0
    }, 'both acknowledgements')
    let canaries = 0
    for (let i = 0; i < 500; i++) {
      const [a, b] = [one, two].map((replica) => replica.ask(model, request(`key ${i}`)))
      expect(b!.version).toBe(a!.version)
      if (a!.version === candidate) canaries++
    }
    expect(canaries).toBeGreaterThan(100)
  })

  it('is notified of a change well before its next poll', async () => {
    const { model, champion, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, { proven: champion }))
    let changes = 0
    const change = async () => {
      const from = performance.now()
      await replica.follows(await fixture.route(model, canary(1 + (changes++ % 10_000)), 60_000))
      return performance.now() - from
    }
    // The next poll is two seconds after the poll that found this change.
    await change()
    await expect.poll(change).toBeLessThan(500)
  })

  it('no exposure grows, and a new one is no longer than a renewal gives, when the clock of the database is set back', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, canary(10_000), 60_000))
    const { routing, now } = replica.serving
    expect(replica.ask(model, request()).version).toBe(candidate)
    const live = routing.find(model)!
    const { exposedUntil } = live
    const read = await readRouting(fixture.store)
    const seenWith = (change: (row: RoutingRow) => Partial<RoutingRow>) =>
      routing.take({ ...read, rows: read.rows.map((row) => ({ ...row, ...change(row) })) }, now())
    await seenWith(({ remainingMs }) => ({ remainingMs: remainingMs! + 3_600_000 }))
    expect(live.exposedUntil).toBeLessThanOrEqual(exposedUntil)
    await seenWith(() => ({ remainingMs: 0 }))
    expect(replica.ask(model, request()).version).toBe(champion)
    // An ended exposure stays ended until it is renewed.
    await seenWith(() => ({ remainingMs: 60_000 }))
    expect(replica.ask(model, request()).version).toBe(champion)
    await seenWith(({ exposedUntilMs }) => ({ remainingMs: 60_000, exposedUntilMs: exposedUntilMs! + 1 }))
    expect(replica.ask(model, request()).version).toBe(candidate)
    const renewed = { remainingMs: 3_600_000, exposureMs: 20_000 }
    await seenWith(({ exposedUntilMs }) => ({ ...renewed, exposedUntilMs: exposedUntilMs! + 2 }))
    expect(live.exposedUntil).toBeLessThanOrEqual(now() + 20_000)
  })

  it('drops the candidate when its exposure is not renewed, and not earlier', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    let exposureMs = 750
    let route: Route
    const isExposed = async () => {
      // As long as this machine needs to see it once.
      exposureMs *= 2
      route = await fixture.route(model, canary(10_000), exposureMs)
      await replica.follows(route)
      return replica.ask(model, request()).version === candidate
    }
    await until(isExposed, 'the exposure')
    const live = replica.serving.routing.find(model)!
    await until(() => replica.serving.now() >= live.exposedUntil, 'the end of the exposure')
    const counted = () => live.complete.arms.map(({ counters: { requests } }) => requests)
    const before = counted()
    expect(replica.ask(model, request())).toMatchObject({ version: champion, arm: 'champion' })
    // Without a candidate beside it, the champion is no control of the release.
    expect(counted()).toEqual(before)
    const { epoch, generation, release } = route!
    const renewed = await renewExposure(fixture.store, {
      model,
      release: release!,
      epoch,
      generation,
      observedMs: Date.now(),
      exposureMs: 30_000,
    })
    expect(renewed).toBe(true)
    await until(() => replica.ask(model, request()).version === candidate, 'the renewed exposure')
    expect(replica.serving.routing.find(model)).toBe(live)
  })

  it('serves the last proven version when a champion on probation is not watched, or the kill switch is set to the champion', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    const replica = await replicaOf()
    const probation: Partial<Route> = {
      release: `rel_${model}`,
      proven: old,
      arms: [
        { arm: 'champion', version: champion, shareBp: 9_500 },
        { arm: 'control', version: old, shareBp: 500 },
      ],
    }
    let exposureMs = 1_000
    let route: Route
    const isExposed = async () => {
      // As long as this machine needs to see it once.
      exposureMs *= 2
      route = await fixture.route(model, probation, exposureMs)
      await replica.follows(route)
      return isDeepStrictEqual(versionsOf(replica, model, 200), new Set([old, champion]))
    }
    await until(isExposed, 'the exposure')
    const live = replica.serving.routing.find(model)!
    await until(() => replica.serving.now() >= live.exposedUntil, 'the end of the exposure')
    expect(versionsOf(replica, model, 200)).toEqual(new Set([old]))
    const renewal = { ...route!, release: `rel_${model}`, observedMs: Date.now(), exposureMs: 60_000 }
    await renewExposure(fixture.store, renewal)
    await until(() => versionsOf(replica, model, 200).has(champion), 'the renewed exposure')
    const write = { model, reason: 'it looks wrong', actor: 'olga' }
    await writeKillSwitch(fixture.store, { ...write, serve: 'champion' })
    await until(() => !versionsOf(replica, model, 200).has(champion), 'the kill switch')
    expect(versionsOf(replica, model, 200)).toEqual(new Set([old]))
    await writeKillSwitch(fixture.store, { ...write, serve: 'normal' })
    await until(() => versionsOf(replica, model, 200).has(champion), 'the route')
  })

  it('drops a candidate that fails every request within ten requests, over all generations of its release', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf({ drills: true })
    await writeFaults(fixture.store, { [candidate]: { invalidShare: 1 } })
    const guarded = (shareBp: number) => ({ ...canary(shareBp), guard: { rate: 0.02, alpha: 0.001 } })
    await replica.follows(await fixture.route(model, guarded(10_000), 60_000))
    const fails = (key: string): boolean => {
      try {
        replica.ask(model, request(key))
        return false
      } catch {
        return true
      }
    }
    let failed = 0
    await until(() => fails('first'), 'the fault')
    for (let i = 0; i < 100; i++) if (fails(`key ${i}`)) failed++
    expect(failed).toBeLessThanOrEqual(10)
    await replica.follows(await fixture.route(model, guarded(9_000), 60_000))
    expect(versionsOf(replica, model, 100)).toEqual(new Set([champion]))
    await writeFaults(fixture.store, {})
    const open = sql`select bool_or(breaker_open) as open from tick_counters where model = ${model} group by arm order by arm`
    const reported = async () => (await fixture.store.query<{ open: boolean }>(open)).map((row) => row.open)
    await until(async () => (await reported())[0] === true, 'the report of the open breaker')
    expect((await reported()).slice(1)).not.toContain(true)
  })

  it('does not drop a candidate for the repeated requests of one client', async () => {
    const { model, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    const guarded = { ...canary(10_000), guard: { rate: 0.02, alpha: 0.001 } }
    await replica.follows(await fixture.route(model, guarded, 60_000))
    const { loaded } = replica.serving.routing.find(model)!.complete.arms[0]!
    loaded.invalidShare = 1
    for (let i = 0; i < 100; i++)
      expect(() => replica.ask(model, request('one caller'))).toThrow(/invalid prediction/)
    loaded.invalidShare = 0
    expect(replica.ask(model, request()).version).toBe(candidate)
  })

  it('copies requests to the previous champion, and does not count the copies as control', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    const replica = await replicaOf()
    const probation: Partial<Route> = {
      release: `rel_${model}`,
      tickMs: 50,
      proven: old,
      arms: [
        { arm: 'champion', version: champion, shareBp: 9_500 },
        { arm: 'control', version: old, shareBp: 500 },
      ],
      shadow: { version: old, shareBp: 10_000 },
    }
    const route = await fixture.route(model, probation, 60_000)
    await replica.follows(route)
    const asked = 200
    const controls = Array.from({ length: asked }, (_, i) => replica.ask(model, request(`key ${i}`))).filter(
      ({ version }) => version === old,
    ).length
    await until(() => replica.serving.shadow.counts().waiting === 0, 'the shadow')
    const pairs = await rowsOnce(
      () => readPairs(route.release!),
      (rows) => rows.length === asked,
    )
    expect(new Set(pairs.map(({ shadow_version }) => shadow_version))).toEqual(new Set([old]))
    await replica.stop()
    const [counted] = await fixture.store.query<{ requests: number }>(sql`
      select sum(requests)::integer as requests from tick_counters where release_id = ${route.release!} and version = ${old}`)
    expect(counted?.requests).toBe(controls)
  })

  it('never exposes a candidate without a deadline', async () => {
    const { model, champion, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, canary(10_000)))
    expect(replica.ask(model, request()).version).toBe(champion)
  })

  it('that has lost its lease serves with the champion, and reports that its route is stale', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    const replica = await replicaOf({ leaseMs: 2_000 })
    const arms: RouteArm[] = [
      { arm: 'champion', version: champion, shareBp: 9_500 },
      { arm: 'control', version: old, shareBp: 500 },
    ]
    const route = await fixture.route(model, { release: 'rel_p', proven: old, arms }, 60_000)
    await replica.follows(route)
    expect(versionsOf(replica, model, 200)).toEqual(new Set([champion, old]))
    await replica.cut()
    await until(() => replica.serving.now() >= replica.serving.lease.until, 'the end of the lease')
    expect(versionsOf(replica, model, 200)).toEqual(new Set([old]))
    const answer = replica.ask(model, request())
    expect(answer).toMatchObject({ stale: true, arm: 'champion', version: old })
    await until(async () => (await acknowledged(route)).length === 0, 'no pending acknowledgement')
    await expect
      .poll(async () => (await listReplicaProgress(fixture.store, model)).map(({ id }) => id))
      .not.toContain(replica.id)
  })

  it('that cannot read the routes loses its lease, and regains it when it can', async () => {
    const { model, old, champion } = await threeVersions(fixture)
    const replica = await replicaOf({ leaseMs: 300 })
    const arms: RouteArm[] = [{ arm: 'champion', version: champion, shareBp: 10_000 }]
    const route = await fixture.route(model, { release: 'rel_p', proven: old, arms }, 60_000)
    await replica.follows(route)
    // The lease itself could be renewed all the time.
    await fixture.store.query(sql`alter table models rename to models_away`)
    try {
      const refusal = /the lease was not renewed: .*the routes were not read for \d+ ms/
      await until(() => refusal.test(replica.troubles.join()), 'what keeps it from its lease')
      const next = { ...route, generation: route.generation + 1 }
      await until(async () => (await acknowledged(next)).length === 0, 'no pending acknowledgement')
      expect(replica.ask(model, request())).toMatchObject({ version: old, stale: true })
    } finally {
      await fixture.store.query(sql`alter table models_away rename to models`)
    }
    await until(() => replica.ask(model, request()).version === champion, 'the lease')
  })

  it('keeps the last valid route when a row is invalid, and reports it', async () => {
    const { model, champion } = await threeVersions(fixture)
    const replica = await replicaOf()
    const route = await fixture.route(model, { proven: champion })
    await replica.follows(route)
    await fixture.store.query(sql`
      update routing set generation = 2, route = jsonb_set(route, '{arms,0,shareBp}', '9000') || '{"generation": 2}'
      where model = ${model}`)
    await replica.serving.refresh()
    expect(replica.ask(model, request())).toMatchObject({ version: champion, generation: 1 })
    const issues = await acknowledged({ ...route, generation: 2 })
    expect(issues).toEqual([expect.stringMatching(/shares sum to 9000/)])
    expect(replica.troubles.join()).toMatch(/shares sum to 9000/)
    await fixture.store.query(sql`
      update routing set generation = 3, route = jsonb_set(route, '{arms,0,shareBp}', '10000') || '{"generation": 3}'
      where model = ${model}`)
    await replica.serving.refresh()
    expect(replica.ask(model, request()).generation).toBe(3)
    expect(await acknowledged({ ...route, generation: 3 })).toEqual([])
  })

  it('keeps the last valid route, without its candidate, when a version of the new one cannot be loaded', async () => {
    const { model, champion, candidate, canary } = await threeVersions(fixture)
    const replica = await replicaOf()
    await replica.follows(await fixture.route(model, canary(10_000), 60_000))
    expect(replica.ask(model, request()).version).toBe(candidate)
    const bad = await fixture.route(
      model,
      { ...canary(10_000), shadow: { version: 'unknown', shareBp: 1 } },
      60_000,
    )
    await until(async () => (await acknowledged(bad)).join().includes('no version'), 'the refusal')
    expect(replica.ask(model, request())).toMatchObject({ version: champion, generation: 1 })
    await replica.follows(await fixture.route(model, { proven: champion }))
  })

  it('ignores an older generation, and follows a newer epoch', async () => {
    const { model, champion, old } = await threeVersions(fixture)
    const replica = await replicaOf()
    await fixture.route(model, { proven: champion })
    const second = await fixture.route(model, { proven: champion })
    await replica.follows(second)
    await fixture.store.query(sql`
      update routing set generation = 1, route = route || ${JSON.stringify({ generation: 1, proven: old, arms: [{ arm: 'champion', version: old, shareBp: 10_000 }] })}
      where model = ${model}`)
    await replica.serving.refresh()
    expect(replica.ask(model, request())).toMatchObject({ version: champion, generation: 2 })
    await fixture.store.query(
      sql`update routing set epoch = 2, route = route || '{"epoch": 2}' where model = ${model}`,
    )
    await replica.serving.refresh()
    expect(replica.ask(model, request())).toMatchObject({ version: old, generation: 1 })
  })

  it('starts from its own disk when Postgres is dead, with the champion and marked as stale', async () => {
    const { model, champion, canary } = await threeVersions(fixture)
    const first = await replicaOf()
    await first.follows(await fixture.route(model, canary(10_000), 60_000))
    const before = first.ask(model, request('a'))
    await first.serving.refresh()
    const stateDir = first.stateDir
    await first.stop()
    const cold = await replicaOf({ stateDir, databaseUrl: 'postgres://unknown@127.0.0.1:1/nothing' })
    const answer = cold.ask(model, request('a'))
    expect(answer).toMatchObject({ version: champion, stale: true, generation: before.generation })
    expect(() => cold.ask('tulip', request())).toThrow(expect.objectContaining({ code: 'model_not_found' }))
  })

  it('without a disk and without Postgres is not ready, and reports the reason', async () => {
    const replica = await replicaOf({ databaseUrl: 'postgres://unknown@127.0.0.1:1/nothing' })
    expect(() => replica.ask('iris', request())).toThrow(expect.objectContaining({ code: 'not_ready' }))
  })

  it('lets a drill make a version invalid only when drills are on', async () => {
    const { model, champion } = await threeVersions(fixture)
    const route = await fixture.route(model, { proven: champion })
    await writeFaults(fixture.store, { [champion]: { invalidShare: 1 } })
    const [plain, drilled] = [await replicaOf(), await replicaOf({ drills: true })]
    await Promise.all([plain.follows(route), drilled.follows(route)])
    await Promise.all([plain.serving.refresh(), drilled.serving.refresh()])
    expect(() => drilled.ask(model, request())).toThrow(expect.objectContaining({ code: 'output_invalid' }))
    expect(drilled.faults).toEqual([`${champion} 1`])
    expect(plain.ask(model, request()).version).toBe(champion)
    await writeFaults(fixture.store, {})
    await drilled.serving.refresh()
    expect(drilled.ask(model, request()).version).toBe(champion)
  })
})

describe('a routing row is refused', () => {
  const good: Route = {
    model: 'm',
    epoch: 1,
    generation: 2,
    salt: 's',
    arms: [{ arm: 'champion', version: 'v', shareBp: 10_000 }],
    proven: 'v',
  }
  const row = (route: unknown) => ({ model: 'm', epoch: 1, generation: 2, route, remainingMs: null })
  it('only if it is invalid', () => {
    const full = {
      ...good,
      release: 'r',
      tickMs: 50,
      latencyUs: { p95: 1, p99: 2 },
      shadow: { version: 'w', shareBp: 1 },
    }
    expect(parseRow(row(full))).toEqual({ route: full })
  })
  it.each<[string, unknown, RegExp]>([
    ['null', null, /not an object/],
    ['a text', 'x', /not an object/],
    ['an unknown field', { ...good, weight: 1 }, /field weight is unknown/],
    ['no arms', { ...good, arms: undefined }, /arms is not a list/],
    ['an arm that is null', { ...good, arms: [null] }, /an arm is not an object/],
    ['an unknown arm', { ...good, arms: [{ arm: 'king', version: 'v', shareBp: 10_000 }] }, /no arm king/],
    [
      'an arm without version',
      { ...good, arms: [{ arm: 'champion', version: '', shareBp: 10_000 }] },
      /names no version/,
    ],
    [
      'a share that is a text',
      { ...good, arms: [{ arm: 'champion', version: 'v', shareBp: '10000' }] },
      /share of an arm is not a number/,
    ],
    [
      'a share of NaN',
      { ...good, arms: [{ arm: 'champion', version: 'v', shareBp: NaN }] },
      /whole number of basis points/,
    ],
    [
      'another generation than its row',
      { ...good, generation: 3 },
      /generation is 3 in the route and 2 in its row/,
    ],
    ['another model than its row', { ...good, model: 'n' }, /model is n in the route/],
    ['a shadow without version', { ...good, shadow: { shareBp: 5 } }, /shadow names no version/],
    ['a shadow without share', { ...good, shadow: { version: 'w' } }, /shadow share/],
    ['a tick of nothing', { ...good, tickMs: 0 }, /tickMs/],
    ['latencies of nothing', { ...good, latencyUs: {} }, /latencyUs/],
    ['nothing proven', { ...good, proven: undefined }, /proven is not a text/],
  ])('for %s', (_name, route, problem) => {
    expect(parseRow(row(route))).toEqual({ problem: expect.stringMatching(problem) })
  })
})
