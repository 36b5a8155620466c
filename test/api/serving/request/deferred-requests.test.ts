/** Tests that a queued request has a defined result after any change, equal to that of a synchronous request. */
import { EventEmitter } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { armOf } from '../../../../api/serving/routing/route-table.ts'
import type { LoadedVersion } from '../../../../api/serving/version/loaded-version.ts'
import { listFailedRequests } from '../../../../store/review/failed-requests.ts'
import { writeKillSwitch } from '../../../../store/serving/kill-switches.ts'
import { flightSpec, irisRow, irisSpec, seeded } from '../../../support/serving/artifact.ts'
import {
  askLater,
  openServingFixture,
  request,
  replicaOfTest,
  threeVersions,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'
import { uniqueName } from '../../../support/servers/servers.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const replicaOf = () => replicaOfTest(fixture)

/** Delays the results of a version until it is released. With `begun` false its rows wait in a queue. */
function hold({ predictor }: LoadedVersion, { begun = true } = {}) {
  const { run } = predictor
  let open = (): void => {}
  let runs = 0
  const opened = new Promise<void>((resolve) => (open = resolve))
  predictor.run = async (input, rows, output, order) => {
    if (begun && order !== undefined) order.begunMs = performance.now()
    await opened
    if (order?.cancelled === true && order.begunMs === 0) return
    runs++
    await run(input, rows, output)
  }
  return { open: () => open(), runs: () => runs }
}

const loadedOf = (replica: TestReplica, model: string, version: string): LoadedVersion =>
  [...replica.serving.routing.loaded()].find((each) => each.model === model && each.version === version)!
const totalsOf = ({ serving }: TestReplica, of: string) => {
  const all = [...serving.counters.totals()].filter(({ version }) => version === of)
  const sum = (name: 'answered' | 'errors' | 'invalid') => all.reduce((total, each) => total + each[name], 0)
  return { answered: sum('answered'), errors: sum('errors'), invalid: sum('invalid') }
}
const none = { answered: 0, errors: 0, invalid: 0 }

/** Starts a replica with a champion whose results wait. */
async function heldChampion(options?: { begun?: boolean }) {
  const names = await threeVersions(fixture)
  const { model, champion, old } = names
  const replica = await replicaOf()
  const arms = [
    { arm: 'champion' as const, version: champion, shareBp: 9_000 },
    { arm: 'control' as const, version: old, shareBp: 1_000 },
  ]
  await replica.follows(await fixture.route(model, { proven: champion, arms }))
  const loaded = loadedOf(replica, model, champion)
  const held = hold(loaded, options)
  const { complete } = replica.serving.routing.find(model)!
  const key = Array.from({ length: 50 }, (_, i) => `key ${i}`).find(
    (each) => armOf(complete, each).loaded === loaded,
  )
  return { ...names, replica, held, loaded, body: request(key) }
}

describe('a queued request', () => {
  it('is served by the current version if its own is no longer loaded', async () => {
    const { model, champion, candidate, replica, held, body } = await heldChampion()
    const before = replica.serving.log.counts().served
    const answer = askLater(replica, model, body)
    await replica.follows(
      await fixture.route(model, {
        proven: candidate,
        arms: [{ arm: 'champion', version: candidate, shareBp: 10_000 }],
      }),
    )
    held.open()
    expect(await answer).toMatchObject({ version: candidate, generation: 2 })
    expect(totalsOf(replica, champion)).toEqual(none)
    expect(totalsOf(replica, candidate)).toEqual({ ...none, answered: 1 })
    expect(replica.serving.log.counts().served).toBe(before + 1)
  })

  it('keeps its result if the route changes while its version stays', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const answer = askLater(replica, model, body)
    await replica.follows(
      await fixture.route(model, {
        proven: champion,
        arms: [{ arm: 'champion', version: champion, shareBp: 10_000 }],
      }),
    )
    held.open()
    expect(await answer).toMatchObject({ version: champion, generation: 2 })
    expect(held.runs()).toBe(1)
    expect(totalsOf(replica, champion)).toEqual({ ...none, answered: 1 })
  })

  it('is refused after the kill switch is set to refuse', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const answer = askLater(replica, model, body)
    await writeKillSwitch(fixture.store, { model, serve: 'refuse', reason: 'it looks wrong', actor: 'olga' })
    await replica.serving.refresh()
    held.open()
    await expect(answer).rejects.toMatchObject({ code: 'model_refused' })
    expect(totalsOf(replica, champion)).toEqual(none)
  })

  it('is counted with the time that it has waited', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const began = performance.now()
    const answer = askLater(replica, model, body)
    await new Promise((resolve) => setTimeout(resolve, 60))
    held.open()
    await answer
    const [totals] = [...replica.serving.counters.totals()].filter(({ version }) => version === champion)
    expect(totals!.latencyUs).toBeGreaterThan(50_000)
    expect(totals!.latencyUs).toBeLessThan((performance.now() - began) * 1_000 + 1)
  })

  it('is refused at its deadline, and counted against its arm once', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const before = replica.serving.log.counts().served
    await expect(askLater(replica, model, body, { withinMs: 20 })).rejects.toMatchObject({
      code: 'deadline_exceeded',
    })
    expect(totalsOf(replica, champion)).toEqual({ ...none, errors: 1 })
    held.open()
    await until(() => replica.serving.waiting().waiting === 0, 'the slot')
    expect(totalsOf(replica, champion)).toEqual({ ...none, errors: 1 })
    expect(replica.serving.log.counts().served).toBe(before)
  })

  it('whose client disconnects before it starts is not counted', async () => {
    const { model, champion, replica, held, body } = await heldChampion({ begun: false })
    const caller = new EventEmitter()
    const answer = askLater(replica, model, body, { caller })
    caller.emit('close')
    await expect(answer).rejects.toMatchObject({ code: 'deadline_exceeded' })
    held.open()
    await until(() => replica.serving.waiting().waiting === 0, 'the slot')
    expect(held.runs()).toBe(0)
    expect(totalsOf(replica, champion)).toEqual(none)
    expect(replica.serving.waiting().abandoned).toBe(1)
    expect(caller.listenerCount('close')).toBe(0)
  })

  it('whose client disconnects during its computation is counted and not logged', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const before = replica.serving.log.counts().served
    const caller = new EventEmitter()
    const answer = askLater(replica, model, body, { caller })
    caller.emit('close')
    await expect(answer).rejects.toMatchObject({ code: 'deadline_exceeded' })
    expect(totalsOf(replica, champion)).toEqual(none)
    held.open()
    await until(() => totalsOf(replica, champion).answered === 1, 'the count')
    expect(replica.serving.log.counts().served).toBe(before)
  })

  it.each(['error', 'invalid'])(
    'whose client disconnects and whose model then fails (%s) is kept under its own id',
    async (failure) => {
      const { model, champion, replica, held, loaded, body } = await heldChampion()
      const { run } = loaded.predictor
      if (failure === 'invalid') loaded.format.issueOf = () => 'out of range'
      else
        loaded.predictor.run = (...given) =>
          Promise.resolve(run(...given)).then(() => Promise.reject(new Error('out of order')))
      const caller = new EventEmitter()
      const left = askLater(replica, model, body, { caller })
      caller.emit('close')
      await expect(left).rejects.toMatchObject({ code: 'deadline_exceeded' })
      // The next request has the current id when the first one ends.
      const next = askLater(replica, model, body).catch(() => {})
      held.open()
      await next
      const kept = () => listFailedRequests(fixture.store, { model, version: champion, limit: 10 })
      await expect.poll(kept).toHaveLength(2)
    },
  )

  it('gets the error of a failing model, counted against its arm', async () => {
    const { model, champion, replica, loaded, body } = await heldChampion()
    loaded.predictor.run = () => Promise.reject(new Error('out of order'))
    await expect(askLater(replica, model, body)).rejects.toMatchObject({ code: 'internal' })
    expect(totalsOf(replica, champion)).toEqual({ ...none, errors: 1 })
  })

  it('gets the error of a model with invalid output', async () => {
    const { model, champion, replica, held, loaded, body } = await heldChampion()
    loaded.invalidShare = 1
    held.open()
    await expect(askLater(replica, model, body)).rejects.toMatchObject({ code: 'output_invalid' })
    expect(totalsOf(replica, champion)).toEqual({ ...none, invalid: 1 })
  })

  it('is refused above the queue limit, and counted against no arm', async () => {
    const { model, champion, replica, held, body } = await heldChampion()
    const waiting = Array.from({ length: 1_024 }, () => askLater(replica, model, body))
    await expect(askLater(replica, model, body)).rejects.toMatchObject({ code: 'overloaded' })
    expect(replica.serving.waiting().waiting).toBe(1_024)
    held.open()
    const ids = (await Promise.all(waiting)).map(({ predictions }) => predictions[0]!.id)
    expect(new Set(ids).size).toBe(1_024)
    expect(totalsOf(replica, champion)).toEqual({ ...none, answered: 1_024 })
    expect(replica.serving.waiting().waiting).toBe(0)
    expect(await askLater(replica, model, body)).toMatchObject({ version: champion })
  })
})

it('a deferred response equals the synchronous response byte for byte, for 2,000 rows', async () => {
  const replica = await replicaOf()
  const [iris, flight] = [irisSpec(uniqueName('iris')), flightSpec(uniqueName('flight'))]
  for (const spec of [iris, flight])
    await replica.follows(await fixture.route(spec.model, { proven: await fixture.register(spec) }))
  const next = seeded(5)
  const oneOf = <T>(...values: T[]): T => values[Math.floor(((next() + 1) / 2) * values.length)]!
  const rowOf = (model: string): object =>
    model === iris.model
      ? Object.fromEntries(Object.keys(irisRow).map((name) => [name, next() * 5]))
      : {
          distance: oneOf<number | null>(null, next() * 3_000, 700),
          hour: oneOf(next() * 24, 3),
          origin: oneOf('ATL', 'ORD', 'Zürich', ''),
          day: oneOf<string | null>('workday', 'weekend', null),
        }
  const bodies = Array.from({ length: 200 }, (_, i) => {
    const { model } = i % 2 === 0 ? iris : flight
    const instances = Array.from({ length: 1 + (i % 19) }, () => rowOf(model))
    return { model, body: Buffer.from(JSON.stringify({ instances, routing_key: oneOf('a', 'b') })) }
  })
  expect(bodies.reduce((sum, { body }) => sum + body.toString().split('},').length, 0)).toBeGreaterThan(1_900)
  const ask = async (asked: (typeof bodies)[number]): Promise<string> => {
    const { bytes, at } = await replica.serving.predict(replica.serving.native, asked)
    return bytes.toString('utf8', 0, at).replaceAll(/"id":"[^"]+"/g, '"id"')
  }
  const atOnce: string[] = []
  for (const asked of bodies) atOnce.push(await ask(asked))
  for (const { predictor } of replica.serving.routing.loaded()) {
    const { run } = predictor
    predictor.run = async (input, rows, output) => {
      await new Promise((resolve) => setImmediate(resolve))
      await run(input, rows, output)
    }
  }
  expect(await Promise.all(bodies.map(ask))).toEqual(atOnce)
})
