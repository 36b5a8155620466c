/** Measures methods of writing rows of the prediction log into Postgres, in rotation. */
import type pg from 'pg'
import { createClock } from '../../../api/serving/clock.ts'
import { createIds } from '../../../api/serving/prediction-ids.ts'
import { withClient } from '../../../store/database/binary-copy.ts'
import type { Store } from '../../../store/postgres.ts'
import {
  copyPredictions,
  encodeOrigin,
  encodePrediction,
  sizeOf,
  type PredictionRecord,
} from '../../../store/serving/prediction-log.ts'
import { openDatabase } from '../../../test/support/servers/private-database.ts'

export interface Shape {
  name: string
  /** Numeric features per instance. */
  width: number
  outputs: number
  instances: number
}

export const shapes: readonly Shape[] = [
  { name: 'iris × 1', width: 4, outputs: 3, instances: 1 },
  { name: 'iris × 100', width: 4, outputs: 3, instances: 100 },
  { name: 'wide × 1', width: 32, outputs: 1, instances: 1 },
  { name: 'wide × 100', width: 32, outputs: 1, instances: 100 },
]

export interface IngestMethod {
  name: string
  /** Bytes per transaction, and concurrent transactions. */
  bytes: number
  connections: number
  /** Encodes and commits the rows of one transaction. */
  store: (client: pg.ClientBase, batch: Batch) => Promise<void>
}

interface Batch {
  records: readonly PredictionRecord[]
  buffer: Buffer
}

const origin = encodeOrigin({
  model: 'm',
  version: 'm_v1.0.0',
  arm: 'champion',
  release: undefined,
  generation: 7,
})

const copy: IngestMethod['store'] = async (client, { records, buffer }) => {
  let at = 0
  for (const record of records) at = encodePrediction(buffer, at, origin, record)
  const entry = { account: 'bench', rows: records.length }
  await copyPredictions(client, buffer.subarray(0, at), entry)
}

/** Parallel arrays in one parameterised statement with `unnest`. */
const unnest: IngestMethod['store'] = async (client, { records }) => {
  await client.query({
    name: 'unnest',
    text: `insert into predictions (model, version, arm, generation, id, at, routing_key, instances, features, outputs, latency_us)
      select 'm', 'm_v1.0.0', 'champion', 7, id, at, key, instances, features, outputs::real[], latency
      from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::int[], $5::bytea[], $6::text[], $7::int[])
        as sent (id, at, key, instances, features, outputs, latency)`,
    values: [
      records.map(({ id }) => Buffer.from(id).toString('hex')),
      records.map(({ atMs }) => new Date(atMs).toISOString()),
      records.map(({ routingKey }) => routingKey),
      records.map(({ instances }) => instances),
      records.map(({ numbers }) => Buffer.from(numbers)),
      records.map(({ outputs }) => `{${outputs.join(',')}}`),
      records.map(({ latencyUs }) => latencyUs),
    ],
  })
}

const kB = 1_024

export const ways: readonly IngestMethod[] = [
  { name: 'UNNEST, 256 kB, 1 connection', bytes: 256 * kB, connections: 1, store: unnest },
  { name: 'UNNEST, 1 MB, 1 connection', bytes: 1_024 * kB, connections: 1, store: unnest },
  ...[256, 1_024, 4_096].flatMap((size) =>
    [1, 2].map((connections) => ({
      name: `COPY binary, ${size < 1_024 ? `${size} kB` : `${size / 1_024} MB`}, ${connections} connection${connections === 1 ? '' : 's'}`,
      bytes: size * kB,
      connections,
      store: copy,
    })),
  ),
]

export interface Measured {
  shape: Shape
  way: string
  /** Rows (requests) per second. */
  rows: number
  megabytes: number
  /** CPU time of this process per row, in microseconds. */
  nodeUs: number
}

export async function measureIngest({ rounds, ms }: { rounds: number; ms: number }): Promise<Measured[]> {
  const { store, stop } = await openDatabase({ max: 4, queryMs: 60_000 })
  const measured: Measured[] = []
  try {
    for (let round = 0; round < rounds; round++)
      for (const shape of shapes)
        for (const way of ways) {
          measured.push(await measure(store, shape, way, ms))
          // Flushes, so that pending writes do not slow the next method.
          await store.pool.query('truncate predictions; truncate prediction_log_accounts')
          await store.pool.query('checkpoint')
        }
  } finally {
    await stop()
  }
  return measured
}

async function measure(store: Store, shape: Shape, way: IngestMethod, ms: number): Promise<Measured> {
  const ids = createIds(createClock())
  const batches = Array.from({ length: way.connections }, () => batchOf(shape, way.bytes))
  const rowBytes = sizeOf(origin, batches[0]!.records[0]!)
  let rows = 0
  const began = performance.now()
  const usage = process.cpuUsage()
  const run = async (batch: Batch): Promise<void> => {
    while (performance.now() - began < ms) {
      for (const { id } of batch.records) {
        ids.next()
        id.set(ids.bytes)
      }
      await withClient(store, (client) => way.store(client, batch))
      rows += batch.records.length
    }
  }
  await Promise.all(batches.map(run))
  const seconds = (performance.now() - began) / 1_000
  const { user, system } = process.cpuUsage(usage)
  return {
    shape,
    way: way.name,
    rows: rows / seconds,
    megabytes: (rows * rowBytes) / seconds / 1e6,
    nodeUs: (user + system) / rows,
  }
}

function batchOf({ width, outputs, instances }: Shape, bytes: number): Batch {
  const record = (): PredictionRecord => ({
    id: new Uint8Array(16),
    atMs: Date.now(),
    routingKey: undefined,
    instances,
    numbers: new Uint8Array(Float32Array.from({ length: width * instances }, Math.random).buffer),
    numberBytes: width * instances * 4,
    texts: new Uint8Array(0),
    textBytes: 0,
    outputs: Float32Array.from({ length: outputs * instances }, Math.random),
    outputCount: outputs * instances,
    latencyUs: 40,
    keyId: '0123456789ab',
    reference: undefined,
  })
  const size = sizeOf(origin, record())
  const records = Array.from({ length: Math.max(1, Math.floor(bytes / size)) }, record)
  return { records, buffer: Buffer.alloc(records.length * size) }
}
