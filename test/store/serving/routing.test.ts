/** Tests routing writes: one of many concurrent writers wins, a stale writer never does, and replicas are notified. */
import { spawnSync } from 'node:child_process'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { isError } from '../../../domain/errors.ts'
import { totalBp, type Route } from '../../../domain/serving/route.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { isAlive, thisProcess } from '../../../store/process-identity.ts'
import {
  introduceReplica,
  shortenLeases,
  acknowledge,
  endLease,
  renewLease,
  laggingReplicas,
  listReplicaProgress,
  listRecentReplicas,
  follows,
} from '../../../store/serving/replicas.ts'
import {
  findRouting,
  renewExposure,
  writeRoute,
  type Routing,
  type RoutingPlace,
} from '../../../store/serving/routing.ts'
import { migratedDatabase, uniqueName } from '../../support/servers/servers.ts'

let store: Store
let model: string
let first: Routing
beforeAll(async () => {
  store = openStore(await migratedDatabase(), { max: 8, connectMs: 60_000, queryMs: 60_000 })
})
afterAll(async () => {
  await store?.close()
})
const routeTo = (version: string, release = 'rel_1'): Omit<Route, 'epoch' | 'generation'> => ({
  model,
  release,
  salt: 's',
  arms: [
    { arm: 'canary', version, shareBp: 100 },
    { arm: 'champion', version: 'v1', shareBp: totalBp - 100 },
  ],
  proven: 'v1',
})
beforeEach(async () => {
  model = uniqueName('model')
  await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
  first = await writeRoute(store, {
    route: routeTo('v2'),
    replaces: { epoch: 0, generation: 0 },
    exposureMs: 60_000,
  })
})

describe('compare-and-set', () => {
  it('lets exactly one of many writers of the same generation win', async () => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 50 }, (_, i) =>
        writeRoute(store, { route: routeTo(`w${i}`), replaces: first.route }),
      ),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const each of outcomes)
      if (each.status === 'rejected') expect(isError(each.reason, 'stale_generation')).toBe(true)
    expect((await findRouting(store, model))?.route.generation).toBe(2)
  })

  it('refuses each of 1,000 writers with an outdated generation', async () => {
    const now = await writeRoute(store, { route: routeTo('v3'), replaces: first.route })
    const late = await Promise.all(
      Array.from({ length: 1_000 }, (_, i) =>
        writeRoute(store, {
          route: routeTo(`late${i}`),
          replaces:
            i % 2 === 0 ? first.route : { epoch: first.route.epoch + 1, generation: now.route.generation },
        }).then(
          () => 'won',
          (error: unknown) => (isError(error, 'stale_generation') ? 'refused' : String(error)),
        ),
      ),
    )
    expect(new Set(late)).toEqual(new Set(['refused']))
    expect(await findRouting(store, model)).toEqual({ ...now, writtenMs: now.writtenMs })
  })

  it('inserts one first route for concurrent writers', async () => {
    model = uniqueName('model')
    await store.query(sql`insert into models (name, definition, code_digest) values (${model}, '{}', 'c')`)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () =>
        writeRoute(store, { route: routeTo('v2'), replaces: { epoch: 0, generation: 0 } }),
      ),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  it('continues from a restored database with a higher epoch', async () => {
    await store.query(sql`insert into routing_epochs (epoch, reason) values (7, 'restored')`)
    const next = await writeRoute(store, { route: routeTo('v3'), replaces: first.route })
    expect(next.route).toMatchObject({ epoch: 7, generation: 2 })
    await store.query(sql`delete from routing_epochs where epoch = 7`)
  })
})

it('a route that is not valid is not written', async () => {
  const odd = { ...routeTo('v2'), arms: [{ arm: 'champion' as const, version: 'v1', shareBp: 9_999 }] }
  await expect(writeRoute(store, { route: odd, replaces: first.route })).rejects.toMatchObject({
    code: 'invalid_route',
  })
  expect((await findRouting(store, model))?.route.generation).toBe(1)
})

it('replicas are notified of every write and every renewal', async () => {
  const heard: (string | undefined)[] = []
  const unlisten = store.listen('tenure_routing', (payload) => heard.push(payload))
  await expect.poll(() => heard).toEqual([undefined])
  const { route } = await writeRoute(store, { route: routeTo('v3'), replaces: first.route, exposureMs: 10 })
  await renewExposure(store, { ...route, release: 'rel_1', observedMs: Date.now(), exposureMs: 60_000 })
  await expect.poll(() => heard).toEqual([undefined, model, model])
  await unlisten()
})

describe('exposure', () => {
  const renew = (changes: object = {}) =>
    renewExposure(store, {
      model,
      release: 'rel_1',
      epoch: first.route.epoch,
      generation: first.route.generation,
      observedMs: first.writtenMs,
      exposureMs: 120_000,
      ...changes,
    })
  const leftMs = async () => (await findRouting(store, model))?.exposureMs ?? 0

  it('is measured from the evidence, so that a frozen watcher adds nothing', async () => {
    expect(await renew({ observedMs: first.writtenMs - 3_600_000 })).toBe(true)
    expect(await leftMs()).toBeLessThan(60_000)
    expect(await renew()).toBe(true)
    expect(await leftMs()).toBeGreaterThan(100_000)
    // A renewal on earlier evidence does not shorten the exposure.
    expect(await renew({ observedMs: first.writtenMs - 60_000 })).toBe(true)
    expect(await leftMs()).toBeGreaterThan(100_000)
  })

  it('from before the clock of the database was set back is not kept', async () => {
    // As a clock that is an hour behind the writer's sees it.
    await store.query(
      sql`update routing set exposed_until = exposed_until + interval '1 hour' where model = ${model}`,
    )
    expect(await leftMs()).toBeGreaterThan(3_000_000)
    expect(await renew()).toBe(true)
    expect(await leftMs()).toBeLessThanOrEqual(120_000)
    expect(await leftMs()).toBeGreaterThan(100_000)
  })

  it.each([
    ['another release', { release: 'rel_2' }],
    ['an old generation', { generation: 0 }],
    ['another epoch', { epoch: 9 }],
  ])('is not renewed for %s', async (_name, changes) => {
    expect(await renew(changes)).toBe(false)
    expect(await leftMs()).toBeLessThan(60_000)
  })

  it('ends with a route without exposure', async () => {
    await writeRoute(store, { route: routeTo('v3'), replaces: first.route })
    expect(await findRouting(store, model)).not.toMatchObject({ exposureMs: expect.anything() })
  })
})

describe('followers', () => {
  const join = (id: string, leaseMs = 60_000) =>
    renewLease(store, { replica: { id, host: 'h', pid: 1, url: 'u', buildId: 'b' }, leaseMs })
  const problems = async () => laggingReplicas(await listReplicaProgress(store, model), first.route)

  it('are all live replicas, and each that does not follow is named', async () => {
    const [a, b, gone] = [uniqueName('a'), uniqueName('b'), uniqueName('gone')]
    await join(a)
    await join(b)
    await join(gone)
    await endLease(store, gone)
    const { epoch, generation } = first.route
    expect(await problems()).toEqual([
      `replica ${a} on h is still switching (generation 0 of 1)`,
      `replica ${b} on h is still switching (generation 0 of 1)`,
    ])
    await acknowledge(store, { replica: a, model, epoch, generation })
    await acknowledge(store, { replica: b, model, epoch, generation, problem: 'no memory' })
    expect(await problems()).toEqual([`replica ${b} on h: no memory`])
    await acknowledge(store, { replica: b, model, epoch: epoch + 1, generation: 0 })
    expect(await problems()).toEqual([])
    await endLease(store, a)
    await endLease(store, b)
    expect(await listReplicaProgress(store, model)).toEqual([])
  })

  it('that were killed are ended by the next replica of their machine, and one that is cut off is not', async () => {
    const machine = uniqueName('machine')
    const own = thisProcess()
    const killed = spawnSync(process.execPath, ['-e', '']).pid
    const replicas = {
      killed: { machine, process: `${killed}.1` },
      // The id of the killed process is in use again.
      reused: { machine, process: `${process.pid}.1` },
      stopped: { machine, process: own },
      elsewhere: { machine: uniqueName('machine'), process: `${killed}.1` },
    }
    const ids = Object.fromEntries(Object.keys(replicas).map((name) => [name, uniqueName(name)]))
    for (const [name, identity] of Object.entries(replicas)) {
      await join(ids[name]!, -5_000)
      await introduceReplica(store, { ...identity, id: ids[name]!, machine: uniqueName('alone'), isAlive })
      await store.query(sql`update replicas set machine = ${identity.machine} where id = ${ids[name]}`)
    }
    const successor = uniqueName('successor')
    await join(successor)
    const ended = await introduceReplica(store, { id: successor, machine, process: own, isAlive })
    expect(new Set(ended)).toEqual(new Set([ids['killed'], ids['reused']]))
    const silent = (await listRecentReplicas(store, model)).silent.map(({ id }) => id)
    expect(new Set(silent.filter((id) => Object.values(ids).includes(id)))).toEqual(
      new Set([ids['elsewhere'], ids['stopped']]),
    )
    await endLease(store, successor)
    for (const id of Object.values(ids)) await endLease(store, id)
  })

  it('have no lease for longer than a renewal gives, whatever the clock of the database was when it was written', async () => {
    const [stepped, live, stopped] = [uniqueName('stepped'), uniqueName('live'), uniqueName('stopped')]
    const leaseMs = async (id: string) => {
      const [row] = await store.query<{ ms: number }>(sql`
        select (extract(epoch from lease_until - clock_timestamp()) * 1000)::float8 as ms from replicas where id = ${id}`)
      return row!.ms
    }
    await join(live, 30_000)
    for (const id of [stepped, stopped]) await join(id)
    await endLease(store, stopped)
    // Written while the clock was a day ahead.
    await store.query(
      sql`update replicas set lease_until = lease_until + interval '1 day' where id in (${stepped}, ${stopped})`,
    )
    await shortenLeases(store)
    expect(await leaseMs(stopped)).toBeLessThanOrEqual(-3_600_000)
    expect(await leaseMs(stepped)).toBeLessThanOrEqual(60_000)
    expect(await leaseMs(live)).toBeLessThanOrEqual(30_000)
    const waitedFor = (await listReplicaProgress(store, model)).map(({ id }) => id)
    expect(waitedFor).toEqual(expect.arrayContaining([stepped, live]))
    for (const id of [stepped, live]) await endLease(store, id)
  })

  it('without a lease are silent until they have stopped, acknowledged the route, or an hour has passed', async () => {
    const { epoch, generation } = first.route
    const next = { model, epoch, generation: generation + 1 }
    const names = {
      cut: -5_000,
      live: 60_000,
      stopped: 60_000,
      gone: -3_700_000,
      follows: -5_000,
      unheard: -5_000,
    }
    const ids = Object.fromEntries(Object.keys(names).map((name) => [name, uniqueName(name)]))
    for (const [name, leaseMs] of Object.entries(names)) await join(ids[name]!, leaseMs)
    for (const name of ['cut', 'live', 'stopped', 'gone'])
      await acknowledge(store, { replica: ids[name]!, model, epoch, generation })
    await acknowledge(store, { replica: ids['follows']!, ...next })
    await endLease(store, ids['stopped']!)
    const { live, silent } = await listRecentReplicas(store, model)
    expect(live).toMatchObject([{ id: ids['live'], acknowledged: { epoch, generation } }])
    expect(silent[0]!.silentMs).toBeGreaterThanOrEqual(5_000)
    const behind = (place: RoutingPlace) => silent.filter((each) => !follows(each, place)).map(({ id }) => id)
    // A replica that has acknowledged nothing may have read a route before it was cut off.
    expect(behind(next)).toEqual([ids['cut'], ids['unheard']])
    expect(behind(first.route)).toEqual([ids['unheard']])
    expect(behind({ epoch: epoch + 1, generation: 0 })).toHaveLength(3)
    await endLease(store, ids['live']!)
  })
})
