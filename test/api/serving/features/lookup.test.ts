/** Tests feature lookups of predictions: found or filled, counted and reported, and never awaited beyond the deadline. */
import { randomUUID } from 'node:crypto'
import sql from 'sql-template-tag'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFeatureCache } from '../../../../api/serving/features/feature-cache.ts'
import { createRowProtocols } from '../../../../api/inference/row-protocols.ts'
import { createByteWriter } from '../../../../api/serving/codec/byte-writer.ts'
import { createLookups } from '../../../../api/serving/features/lookup.ts'
import type { FeatureOrigin, FeatureValue, FeatureView } from '../../../../domain/model/feature-view.ts'
import {
  findLatestValues,
  insertValues,
  findView,
  upsertView,
} from '../../../../store/features/feature-views.ts'
import { listLogged } from '../../../../store/monitoring/matured-outcomes.ts'
import type { Database } from '../../../../store/postgres.ts'
import {
  answerOf,
  flightSpec,
  randomLayer,
  seeded,
  type ArtifactSpec,
} from '../../../support/serving/artifact.ts'
import { uniqueName } from '../../../support/servers/servers.ts'
import {
  askLater,
  openServingFixture,
  replicaOfTest,
  startReplica,
  until,
  type ServingFixture,
  type TestReplica,
} from '../../../support/serving/serving-fixture.ts'

let fixture: ServingFixture
let replica: TestReplica
const view: FeatureView = {
  name: 'airports',
  digest: `sha256:${'a'.repeat(64)}`,
  source: { kind: 'postgres', files: {}, rows: 'select 1' },
  entity: ['airport'],
  eventTime: 'at',
  knownAt: 'at',
  values: { distance: 'number', day: 'category' },
  everyMs: 1_000,
  lateMs: 1_000,
  keepMs: 1e9,
}
const hourMs = 3_600_000
const from = (value: string, more: Partial<FeatureOrigin> = {}): FeatureOrigin => ({
  view: view.name,
  digest: view.digest,
  value,
  by: ['origin'],
  timeToLiveMs: hourMs,
  freshMs: 600_000,
  withinMs: 15_000,
  ...more,
})
const looking = (more: Partial<FeatureOrigin> = {}): ArtifactSpec => {
  const spec = flightSpec(uniqueName('looking'))
  const { distance, hour, origin } = spec.features
  return {
    ...spec,
    features: {
      distance: { ...distance!, from: from('distance', more) },
      hour: hour!,
      origin: origin!,
      day: {
        kind: 'category',
        values: ['workday', 'weekend'],
        missing: 'fill',
        from: from('day', { otherwise: 'workday', ...more }),
      },
    },
  }
}
const tell = async (entity: string, features: Record<string, FeatureValue>, ageMs = 0) => {
  const at = new Date(Date.now() - ageMs - 1_000).toISOString()
  const { id } = (await findView(fixture.store, view.digest))!
  const run = { viewId: id, asOf: at, watermark: undefined }
  await insertValues(fixture.store, run, [{ entity, eventAt: at, knownAt: at, usableAt: at, features }])
}
const start = async (spec: ArtifactSpec): Promise<string> => {
  const proven = await fixture.register(spec)
  await replica.follows(await fixture.route(spec.model, { proven }))
  return spec.model
}
type Told = Awaited<ReturnType<typeof askLater>> & {
  defaulted?: { instance: number; feature: string; why: string }[]
}
const ask = (model: string, ...instances: object[]): Promise<Told> => askLater(replica, model, { instances })
const probabilities = (told: Told) => told.predictions.map(({ probability }) => probability!)

beforeAll(async () => {
  fixture = await openServingFixture()
  replica = await startReplica(fixture)
  await upsertView(fixture.store, view)
  await tell('ORD', { distance: 300, day: 'weekend' })
  await tell('ATL', { distance: null, day: 'holiday' })
  await tell('XNA', { distance: 900, day: 'weekend' }, 2 * hourMs)
})
afterAll(async () => {
  await replica.stop()
  await fixture.close()
})

describe('a feature that is absent from the request', () => {
  it('is looked up, logged as used, and overridden by a value in the request', async () => {
    const spec = looking()
    const model = await start(spec)
    const told = await ask(model, { hour: 8, origin: 'ORD' }, { hour: 8, origin: 'ORD', distance: 5_000 })
    const rows = [
      { distance: 300, hour: 8, origin: 'ORD', day: 'weekend' },
      { distance: 5_000, hour: 8, origin: 'ORD', day: 'weekend' },
    ]
    expect(told.defaulted).toBeUndefined()
    probabilities(told).forEach((probability, index) =>
      expect(probability).toBeCloseTo(answerOf(spec, rows[index]!)[0]!, 5),
    )
    await replica.serving.log.flush()
    const logged = await listLogged(
      fixture.store,
      {
        model,
        version: told.version,
        fromMs: 0,
        toMs: Date.now() + hourMs,
        fits: spec.preprocessing,
        width: 1,
      },
      10,
    )
    expect(logged.map(({ row }) => row)).toEqual(rows)
    // Cached now: answered in the same turn.
    expect(replica.ask(model, { instances: [{ hour: 8, origin: 'ORD' }] }).predictions).toHaveLength(1)
  })

  it('is filled where there is no value, and the response has the reason', async () => {
    const spec = looking()
    const model = await start(spec)
    const before = { ...replica.serving.lookups.counts().get(view.name) }
    const told = await ask(
      model,
      { hour: 8, origin: 'ATL' },
      { hour: 8, origin: 'XNA' },
      { hour: 8, origin: 'nowhere' },
      { hour: 8, origin: 'ORD' },
    )
    const whys = [
      ['absent', 'absent'],
      ['old', 'old'],
      ['absent', 'absent'],
    ]
    expect(told.defaulted).toEqual(
      whys.flatMap(([distance, day], instance) => [
        { instance, feature: 'day', why: day },
        { instance, feature: 'distance', why: distance },
      ]),
    )
    const rows = [
      ...['ATL', 'XNA', 'nowhere'].map((origin) => ({ distance: null, hour: 8, origin, day: 'workday' })),
      { distance: 300, hour: 8, origin: 'ORD', day: 'weekend' },
    ]
    probabilities(told).forEach((probability, index) =>
      expect(probability).toBeCloseTo(answerOf(spec, rows[index]!)[0]!, 5),
    )
    const after = replica.serving.lookups.counts().get(view.name)!
    expect({
      absent: after.absent - (before.absent ?? 0),
      old: after.old - (before.old ?? 0),
      found: after.found - (before.found ?? 0),
    }).toEqual({ absent: 4, old: 2, found: 2 })
  })

  it('leaves invalid rows to the parser, with their usual error codes', async () => {
    const model = await start(looking())
    for (const [instance, code] of [
      [{ origin: 'ORD' }, 'missing_feature'],
      [{ hour: 8, origin: 'ORD', more: 1 }, 'unknown_feature'],
      [{ hour: 'eight', origin: 'ORD' }, 'wrong_type'],
      [{ hour: 8, origin: 'ORD', day: 'noday' }, 'unknown_category'],
      [[], 'invalid_request'],
    ] as const)
      await expect(ask(model, instance)).rejects.toMatchObject({ code })
    const odd = await ask(model, { hour: 8, origin: 'a'.repeat(5_000) })
    expect(odd.defaulted?.map(({ why }) => why)).toEqual(['no_entity', 'no_entity'])
  })

  it('is looked up by a field that only one of two versions has', async () => {
    const by = { by: ['airport'] }
    const [plain, more] = [flightSpec(uniqueName('both')), looking(by)]
    const champion = await fixture.register(plain)
    const canary = await fixture.register({ ...more, model: plain.model }, 1)
    const arms = (shareBp: number) => ({
      release: `rel_${plain.model}`,
      proven: champion,
      arms: [
        { arm: 'canary' as const, version: canary, shareBp },
        { arm: 'champion' as const, version: champion, shareBp: 10_000 - shareBp },
      ],
    })
    await replica.follows(await fixture.route(plain.model, arms(5_000), 600_000))
    const row = { distance: 300, hour: 8, origin: 'DEN', day: 'weekend' }
    const answered = new Set<string>()
    for (let i = 0; i < 200 && answered.size < 2; i++) {
      const told = await askLater(replica, plain.model, {
        instances: [{ ...row, airport: 'ORD' }],
        routing_key: `caller ${i}`,
      })
      answered.add(told.arm)
      expect(told.predictions[0]!.probability).toBeCloseTo(answerOf(plain, row)[0]!, 5)
    }
    expect(answered.size).toBe(2)
  })
})

describe('a request that comes again', () => {
  const registered = async (spec: ArtifactSpec, minor = 0): Promise<string> => {
    const version = await fixture.register(spec, minor)
    const { features, preprocessing } = spec
    await fixture.store.query(
      sql`update versions set manifest = ${JSON.stringify({ features, preprocessing })} where version = ${version}`,
    )
    return version
  }
  /** Sends the row to a replica that has cached nothing yet. */
  const send = async (model: string, proven: string, row: object, idempotencyKey: string = randomUUID()) => {
    const durable = await replicaOfTest(fixture, { durableLog: true })
    await durable.follows(await fixture.route(model, { proven }))
    return askLater(durable, model, { instances: [row] }, { idempotencyKey })
  }

  it('gets its answer although a looked-up value has changed, and another request with its id is refused', async () => {
    const spec = looking({ by: ['airport'] })
    const { model } = spec
    const version = await registered(spec)
    const row = { hour: 8, origin: 'ORD', airport: 'repeated' }
    const idempotencyKey = randomUUID()
    await tell('repeated', { distance: 300, day: 'weekend' }, 1_000)
    const { predictions } = await send(model, version, row, idempotencyKey)
    await tell('repeated', { distance: 4_000, day: 'workday' })
    expect((await send(model, version, row, idempotencyKey)).predictions).toEqual(predictions)
    const [now] = (await send(model, version, row)).predictions
    expect(now!.probability).not.toBe(predictions[0]!.probability)
    for (const other of [{ hour: 9 }, { origin: 'ATL' }])
      await expect(send(model, version, { ...row, ...other }, idempotencyKey)).rejects.toThrow(
        'another request had the same idempotency-key',
      )
  })

  it('gets its answer after a release to a version with another feature', async () => {
    const spec = looking({ by: ['airport'] })
    const { day: _day, distance: _distance, ...features } = spec.features
    const former: ArtifactSpec = {
      ...spec,
      features,
      preprocessing: spec.preprocessing.slice(1, 3),
      layers: [randomLayer(4, 1, 'sigmoid', seeded(3))],
      golden: [{ hour: 8, origin: 'ORD' }],
    }
    const row = { hour: 8, origin: 'ORD' }
    const idempotencyKey = randomUUID()
    const first = await send(spec.model, await registered(former), row, idempotencyKey)
    const again = await send(spec.model, await registered(spec, 1), row, idempotencyKey)
    expect(again).toMatchObject({ version: first.version, predictions: first.predictions })
  })
})

describe('while the feature store does not respond', () => {
  const whileLocked = async (work: () => Promise<void>) => {
    const client = await fixture.store.pool.connect()
    try {
      await client.query('begin')
      await client.query('lock table feature_latest in access exclusive mode')
      await work()
    } finally {
      await client.query('rollback')
      client.release()
    }
  }

  it('no request waits beyond the deadline, cached values are used, and other models are not affected', async () => {
    const [model, other] = [
      await start(looking({ withinMs: 50 })),
      await start(flightSpec(uniqueName('plain'))),
    ]
    await until(
      async () => (await ask(model, { hour: 8, origin: 'ORD' })).defaulted === undefined,
      'the value',
    )
    await tell('SEA', { distance: 100, day: 'weekend' })
    await whileLocked(async () => {
      const told = await ask(model, { hour: 8, origin: 'ORD' }, { hour: 8, origin: 'SEA' })
      expect(told.defaulted).toEqual([
        { instance: 1, feature: 'day', why: 'late' },
        { instance: 1, feature: 'distance', why: 'late' },
      ])
      expect(
        replica.ask(other, { instances: [{ distance: 1, hour: 1, origin: 'ORD', day: null }] }).predictions,
      ).toHaveLength(1)
    })
    await until(
      async () => (await ask(model, { hour: 8, origin: 'SEA' })).defaulted === undefined,
      'the late value',
    )
  })

  it('an MLflow request may also omit a feature', async () => {
    const model = await start(looking())
    await tell('SEA', { distance: 1_200, day: 'weekend' })
    const { mlflow } = createRowProtocols(10)
    const body = Buffer.from(JSON.stringify({ dataframe_records: [{ hour: 8, origin: 'SEA' }] }))
    await until(async () => {
      const { bytes, at } = await replica.serving.predict(mlflow, { model, body })
      const told = JSON.parse(bytes.toString('utf8', 0, at)) as {
        predictions: number[]
        defaulted?: object[]
      }
      expect(told.predictions).toHaveLength(1)
      return told.defaulted === undefined
    }, 'the value of the view')
  })

  it('a request continues at its deadline, also when a read never ends', async () => {
    const model = await start(looking({ withinMs: 20 }))
    const { routing, native } = replica.serving
    const never = new Promise<void>(() => {})
    const cache = { find: () => undefined, read: () => never, counts: () => ({ entries: 0, bytes: 0 }) }
    const clock = { now: () => 0, wall: () => 0 }
    const lookups = createLookups({ cache, clock, routing })
    for (const loaded of routing.loaded()) lookups.knows(loaded)
    const body = Buffer.from(JSON.stringify({ instances: [{ hour: 8, origin: 'ORD' }] }))
    const given = lookups
      .withLookups({ predict: () => createByteWriter(), predictRecord: () => undefined })
      .predict(native, { model, body })
    expect(given).toBeInstanceOf(Promise)
    expect((await given).at).toBe(0)
  })

  it('a cached value above its maximum age is not used', async () => {
    const model = await start(looking({ withinMs: 50, freshMs: 400 }))
    const isFound = async () => (await ask(model, { hour: 8, origin: 'ORD' })).defaulted === undefined
    await until(isFound, 'the value')
    await whileLocked(() => until(async () => !(await isFound()), 'the end of its freshness'))
    await until(isFound, 'the value again')
  })
})

describe('the cache of feature values', () => {
  const fake = (known: (entities: string[]) => object[]) => {
    const asked: string[][] = []
    const store: Database = {
      query: (statement) => {
        const entities = statement.values[1] as string[]
        asked.push(entities)
        return Promise.resolve(known(entities) as never)
      },
    }
    return { store, asked }
  }
  const entity = (name: string) => ({ digest: view.digest, entity: name })

  it('is bounded, and reads many entities at once', async () => {
    const { store, asked } = fake((entities) =>
      entities.map((name) => ({ digest: view.digest, entity: name, eventMs: 1, values: { a: name } })),
    )
    const cache = createFeatureCache({
      store,
      now: () => 0,
      onError: () => {},
      maxEntries: 100,
      maxBytes: 1e6,
    })
    await Promise.all(
      Array.from({ length: 3_000 }, (_, i) => cache.read(entity(`e${i % 2_500}`)) ?? Promise.resolve()),
    )
    expect(asked.map((entities) => entities.length)).toEqual([1_000, 1_000, 500])
    expect(cache.counts().entries).toBe(100)
    expect(cache.find(entity('e2499'), 1_000)?.known?.values).toEqual({ a: 'e2499' })
    expect(cache.find(entity('e0'), 1_000)).toBeUndefined()
    const small = createFeatureCache({ store, now: () => 0, onError: () => {}, maxBytes: 10_000 })
    await Promise.all(Array.from({ length: 500 }, (_, i) => small.read(entity(`e${i}`)) ?? Promise.resolve()))
    expect(small.counts().bytes).toBeLessThanOrEqual(10_000)
    expect(small.counts().entries).toBeGreaterThan(10)
  })

  it('pauses reads after the store has failed, and caches missing values', async () => {
    let [now, fails] = [0, true]
    const troubles: string[] = []
    const store: Database = { query: () => (fails ? Promise.reject(new Error('away')) : Promise.resolve([])) }
    const cache = createFeatureCache({ store, now: () => now, onError: (what) => troubles.push(what) })
    await cache.read(entity('a'))
    expect(troubles).toEqual(['features cannot be looked up'])
    expect(cache.read(entity('a'))).toBeUndefined()
    expect(cache.find(entity('a'), 1_000)).toBeUndefined()
    ;[now, fails] = [1_000, false]
    await cache.read(entity('a'))
    expect(cache.find(entity('a'), 1_000)).toMatchObject({ known: undefined })
  })

  it('refreshes values in use before they are too old', async () => {
    let now = 0
    const { store, asked } = fake(() => [])
    const cache = createFeatureCache({ store, now: () => now, onError: () => {} })
    await cache.read(entity('a'))
    now = 400
    expect(cache.find(entity('a'), 1_000)).toBeDefined()
    await new Promise((resolve) => setImmediate(resolve))
    expect(asked).toHaveLength(1)
    now = 600
    expect(cache.find(entity('a'), 1_000)).toBeDefined()
    await new Promise((resolve) => setImmediate(resolve))
    expect(asked).toHaveLength(2)
  })
})

it('the newest event counts, even if an older one arrives later', async () => {
  await tell('MIA', { distance: 1 }, 1_000)
  await tell('MIA', { distance: 2 }, 60_000)
  expect(
    (await findLatestValues(fixture.store, [{ digest: view.digest, entity: 'MIA' }]))[0]?.values,
  ).toEqual({
    distance: 1,
  })
  expect(await fixture.store.query(sql`select 1 from feature_history where entity = 'MIA'`)).toHaveLength(2)
})
