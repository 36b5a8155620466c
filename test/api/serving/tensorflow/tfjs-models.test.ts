/**
 * Tests models that TensorFlow.js computes in a real thread: the same arms, counts and log, also in batches.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { irisRow, irisSpec, notCompiled } from '../../../support/serving/artifact.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  askLater,
  openServingFixture,
  replicaOfTest,
  until,
  type ServingFixture,
  type ReplicaOptions,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
beforeAll(async () => {
  fixture = await openServingFixture()
})
afterAll(() => fixture.close())

const replicaOf = (options?: ReplicaOptions) => replicaOfTest(fixture, options)

const rowOf = (i: number) => ({ ...irisRow, sepalLength: 4 + (i % 30) / 10, petalWidth: (i % 7) / 3 })
const probabilitiesOf = ({ predictions }: Awaited<ReturnType<typeof askLater>>) =>
  predictions.map(({ probabilities }) => Object.values(probabilities!))

describe('a model that is not compiled', () => {
  it('predicts as the compiled one does, alone and in a batch, and is routed, counted and logged alike', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const dense = await fixture.register(spec)
    const layered = await fixture.register(notCompiled(spec), 1)
    const { model } = spec
    // However slow a row is, the requests of one turn share a batch.
    const replica = await replicaOf({ batches: { batchMs: 1e9 } })
    await replica.follows(await fixture.route(model, { proven: dense }))
    const bodies = Array.from({ length: 40 }, (_, i) => ({
      instances: Array.from({ length: 1 + (i % 5) }, (_each, row) => rowOf(i * 7 + row)),
      routing_key: `key ${i}`,
    }))
    const wanted = bodies.map((body) => probabilitiesOf(replica.ask(model, body)))
    const before = replica.serving.log.counts().served
    await replica.follows(
      await fixture.route(model, {
        proven: dense,
        arms: [
          { arm: 'champion', version: dense, shareBp: 5_000 },
          { arm: 'control', version: layered, shareBp: 5_000 },
        ],
      }),
    )
    const together = await Promise.all(bodies.map((body) => askLater(replica, model, body)))
    const { batches, rows } = replica.serving.tensors.counts()
    const byLayered = together.filter(({ version }) => version === layered)
    expect(byLayered.length).toBeGreaterThan(5)
    expect(batches).toBeLessThan(byLayered.length)
    expect(rows).toBe(byLayered.reduce((sum, { predictions }) => sum + predictions.length, 0) + 2)
    together.forEach((answer, i) =>
      probabilitiesOf(answer).forEach((row, place) =>
        row.forEach((value, k) => expect(Math.abs(value - wanted[i]![place]![k]!)).toBeLessThan(1e-5)),
      ),
    )
    expect(replica.serving.log.counts().served).toBe(before + bodies.length)
    const totals = [...replica.serving.counters.totals()].find(({ version }) => version === layered)!
    expect(totals.answered).toBe(byLayered.length)
    // Alone and in a batch, equal to the last bit.
    const one = together.findIndex(({ version }) => version === layered)
    const alone = await askLater(replica, model, bodies[one])
    expect(alone).toMatchObject({ arm: 'control', version: layered })
    expect(probabilitiesOf(alone)).toEqual(probabilitiesOf(together[one]!))
  })

  it('that is dropped during requests responds to all of them and releases its memory', async () => {
    const spec = notCompiled(irisSpec(uniqueName('iris')))
    const [first, second] = [
      await fixture.register(spec),
      await fixture.register(notCompiled(irisSpec(spec.model, 9)), 1),
    ]
    const replica = await replicaOf()
    await replica.follows(await fixture.route(spec.model, { proven: first }))
    const { models } = replica.serving.tensors.counts()
    let going = true
    const answers: string[] = []
    const callers = Array.from({ length: 20 }, async (_, i) => {
      while (going) answers.push((await askLater(replica, spec.model, { instances: [rowOf(i)] })).version)
    })
    await until(() => answers.length > 50, 'answers of the first')
    const route = await fixture.route(spec.model, { proven: second })
    await replica.follows(route)
    const at = answers.length
    await until(() => answers.length > at + 50, 'answers of the second')
    going = false
    await Promise.all(callers)
    expect(new Set(answers)).toEqual(new Set([first, second]))
    // Requests in progress at the route change are routed again, so that no later response is from the first version.
    expect(answers.slice(at)).not.toContain(first)
    await until(() => replica.serving.tensors.counts().models === models, 'the memory of the first')
  })

  it('predicts shadow copies, which are paired', async () => {
    const spec = irisSpec(uniqueName('iris'))
    const dense = await fixture.register(spec)
    const layered = await fixture.register(notCompiled(spec), 1)
    const replica = await replicaOf()
    const route = await fixture.route(
      spec.model,
      {
        proven: dense,
        release: `rel_${spec.model}`,
        tickMs: 50,
        shadow: { version: layered, shareBp: 10_000 },
      },
      60_000,
    )
    await replica.follows(route)
    await until(() => replica.serving.routing.find(spec.model)!.exposedUntil > 0, 'the exposure')
    for (let i = 0; i < 150; i++)
      expect(replica.ask(spec.model, { instances: [rowOf(i)], routing_key: `key ${i}` }).version).toBe(dense)
    await until(() => replica.serving.shadow.counts().answered === 150, 'the copies')
    const { counters } = replica.serving.routing.find(spec.model)!.complete.shadow!.arm
    expect([counters.errors, counters.invalid]).toEqual([0, 0])
    const differences = replica.serving.shadow.pairs.map(({ difference }) => difference)
    for (const difference of differences) expect(difference).toBeLessThan(1e-5)
  })

  it('caches exact rows if configured, per version, and counts them like all others', async () => {
    const spec = notCompiled(irisSpec(uniqueName('iris')))
    const [first, second] = [
      await fixture.register(spec),
      await fixture.register(notCompiled(irisSpec(spec.model, 9)), 1),
    ]
    const replica = await replicaOf({ remembered: 100 })
    await replica.follows(await fixture.route(spec.model, { proven: first }))
    const cache = replica.serving.predictionCache!
    const served = replica.serving.log.counts().served
    const body = { instances: [rowOf(1), rowOf(2)] }
    const once = await askLater(replica, spec.model, body)
    // In one turn now, because nothing has to be computed.
    const again = replica.ask(spec.model, body)
    expect(probabilitiesOf(again)).toEqual(probabilitiesOf(once))
    expect(again.predictions[0]!.id).not.toBe(once.predictions[0]!.id)
    const half = await askLater(replica, spec.model, { instances: [rowOf(2), rowOf(3)] })
    expect(probabilitiesOf(half)[0]).toEqual(probabilitiesOf(once)[1])
    expect(cache.counts()).toMatchObject({ hits: 3, misses: 3, entries: 3 })
    expect(replica.serving.log.counts().served).toBe(served + 3)
    const [totals] = [...replica.serving.counters.totals()].filter(({ version }) => version === first)
    expect(totals!.answered).toBe(3)
    await replica.follows(await fixture.route(spec.model, { proven: second }))
    const other = await askLater(replica, spec.model, body)
    expect(other.version).toBe(second)
    expect(probabilitiesOf(other)).not.toEqual(probabilitiesOf(once))
    expect(cache.counts()).toMatchObject({ hits: 3, misses: 5 })
    // The first version is dropped, with its cached rows.
    expect(cache.counts().entries).toBe(2)
  })
})
