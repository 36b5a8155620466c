/** Tests the rows of the prediction log: encoded by this project, read back by Postgres. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createClock } from '../../../api/serving/clock.ts'
import { createIds } from '../../../api/serving/prediction-ids.ts'
import { splitTuples, withClient } from '../../../store/database/binary-copy.ts'
import {
  copyPredictions,
  encodeOrigin,
  encodePrediction,
  sizeOf,
  storePredictions,
  type PredictionRecord,
} from '../../../store/serving/prediction-log.ts'
import type { Store } from '../../../store/postgres.ts'
import { migratedDatabase, openPatientStore } from '../../support/servers/servers.ts'

let store: Store
const ids = createIds(createClock())
const origin = encodeOrigin({
  model: 'm',
  version: 'm_v1.0.0',
  arm: 'canary',
  release: 'rel_1',
  generation: 2 ** 40,
})
const bare = encodeOrigin({
  model: 'm',
  version: 'm_v1.0.0',
  arm: 'champion',
  release: undefined,
  generation: 1,
})

beforeAll(async () => {
  store = openPatientStore(await migratedDatabase())
})
beforeEach(() => store.pool.query('delete from predictions'))
afterAll(() => store.close())

function record(change: Partial<PredictionRecord> = {}): PredictionRecord {
  ids.next()
  return {
    id: Uint8Array.from(ids.bytes),
    atMs: Date.UTC(2026, 1, 3, 4, 5, 6, 789),
    routingKey: 'schlüssel €',
    instances: 2,
    numbers: new Uint8Array(Float32Array.of(1, NaN, 0.1, -3e38).buffer),
    numberBytes: 16,
    texts: textsOf('größe', undefined, ''),
    textBytes: 19,
    outputs: Float32Array.of(0.25, 0.75, 99),
    outputCount: 2,
    latencyUs: 17,
    keyId: '0123456789ab',
    reference: 'größe 7',
    ...change,
  }
}

function block(records: PredictionRecord[], of = origin): Buffer {
  const buffer = Buffer.alloc(records.reduce((sum, each) => sum + sizeOf(of, each), 0))
  return buffer.subarray(
    0,
    records.reduce((at, each) => encodePrediction(buffer, at, of, each), 0),
  )
}

/** Values as the input buffer holds them. */
function textsOf(...texts: (string | undefined)[]): Buffer {
  return Buffer.concat(
    texts.flatMap((text) => {
      const length = Buffer.alloc(4, 0xff)
      if (text !== undefined) length.writeUInt32LE(Buffer.byteLength(text))
      return [length, Buffer.from(text ?? '')]
    }),
  )
}

const rows = async () => (await store.pool.query('select * from predictions order by id')).rows

describe('a row', () => {
  it('is read as it was written', async () => {
    await withClient(store, (client) => copyPredictions(client, block([record()])))
    expect(await rows()).toMatchObject([
      {
        model: 'm',
        version: 'm_v1.0.0',
        arm: 'canary',
        release_id: 'rel_1',
        generation: 2 ** 40,
        at: new Date('2026-02-03T04:05:06.789Z'),
        routing_key: 'schlüssel €',
        instances: 2,
        features: Buffer.concat([record().numbers, record().texts]),
        outputs: [0.25, 0.75],
        latency_us: 17,
        key_id: '0123456789ab',
        reference: 'größe 7',
      },
    ])
  })

  it('may have no release, no routing key, no key and no reference, and a date before 2000', async () => {
    const none = { routingKey: undefined, keyId: undefined, reference: undefined }
    const odd = record({ ...none, atMs: Date.UTC(1999, 0, 1) })
    await withClient(store, (client) => copyPredictions(client, block([odd], bare)))
    expect(await rows()).toMatchObject([
      {
        release_id: null,
        routing_key: null,
        key_id: null,
        reference: null,
        at: new Date('1999-01-01T00:00:00Z'),
      },
    ])
  })

  it('is parsed by the database, instance by instance', async () => {
    const fits = [
      { name: 'x', kind: 'number' },
      { name: 'colour', kind: 'category' },
      { name: 'y', kind: 'number' },
    ]
    const numbers = [1, NaN, 0.1, -3e38, 1e-45, 0]
    const odd = record({
      instances: 3,
      numbers: new Uint8Array(Float32Array.from(numbers).buffer),
      numberBytes: 24,
      texts: textsOf('größe', undefined, ''),
      textBytes: 19,
    })
    await withClient(store, (client) => copyPredictions(client, block([odd])))
    const { rows: found } = await store.pool.query<{ instance: object }>(
      `select instance_of(features, $1::jsonb, instances, place) as instance
       from predictions, generate_series(0, instances - 1) as place`,
      [JSON.stringify(fits)],
    )
    expect(found.map(({ instance }) => instance)).toEqual([
      { x: 1, colour: 'größe', y: null },
      { x: 0.1, colour: null, y: -3e38 },
      { x: 1e-45, colour: '', y: 0 },
    ])
  })

  it('never exceeds its reserved bytes', () => {
    for (const each of [
      record(),
      record({ routingKey: '€'.repeat(256), reference: '€'.repeat(200) }),
      record({ routingKey: undefined }),
    ])
      expect(block([each]).byteLength).toBeLessThanOrEqual(sizeOf(origin, each))
  })
})

describe('a block', () => {
  it('is split into its rows', () => {
    const records = [record(), record({ routingKey: undefined }), record()]
    const tuples = splitTuples(block(records))
    expect(tuples.map((tuple) => Buffer.from(tuple))).toEqual(records.map((each) => block([each])))
  })

  it('that was stored before is not stored twice', async () => {
    const known = [record(), record()]
    await withClient(store, (client) => copyPredictions(client, block(known)))
    const more = block([...known, record()])
    expect(await withClient(store, (client) => storePredictions(client, { bytes: more, rows: 3 }))).toEqual({
      refused: [],
      sifted: 0,
    })
    expect(await rows()).toHaveLength(3)
  })

  it('is refused completely by a plain copy when one row cannot be stored', async () => {
    const poisoned = block([record(), record({ routingKey: 'a\0b' }), record()])
    const copy = withClient(store, (client) => copyPredictions(client, poisoned))
    await expect(copy).rejects.toMatchObject({ code: '22021' })
    expect(await rows()).toHaveLength(0)
  })

  it('loses only the rows that cannot be stored', async () => {
    const poisoned = block([
      record(),
      record({ routingKey: 'a\0b' }),
      record(),
      record({ routingKey: '\0' }),
      record(),
    ])
    expect(
      await withClient(store, (client) => storePredictions(client, { bytes: poisoned, rows: 5 })),
    ).toEqual({ refused: [1, 3], sifted: 0 })
    expect(await rows()).toHaveLength(3)
  })
})

it('prediction ids of one day do not repeat, and sort by time', () => {
  let ms = 1_000_000_000_000
  const clock = { now: () => 0, wall: () => ms, correct: () => {} }
  const made = createIds(clock)
  const seen = new Set<string>()
  let last = ''
  for (let i = 0; i < 50_000; i++) {
    if (i % 50 === 0) ms++
    made.next()
    const id = made.prefix()
    if (i % 50 === 0) {
      expect(id > last).toBe(true)
      last = id
    }
    seen.add(id)
  }
  expect(seen.size).toBe(50_000)
})
