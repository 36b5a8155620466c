/**
 * Opens the context of the demo: users with their keys, the recorded flights as live traffic, and read access to Postgres.
 * The demo acts through the HTTP API and Temporal only.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { join } from 'node:path'
import { Client, Connection } from '@temporalio/client'
import { DuckDBInstance, type DuckDBConnection } from '@duckdb/node-api'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { getModel } from '../../store/registry/models.ts'
import { rowSigner } from '../../store/audit/row-signatures.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { openSigner } from '../../store/signing/signing-key.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { createClient, type Client as ApiClient } from '../client/client.ts'
import { ensureKey } from '../supervisor/bootstrap.ts'
import type { System } from '../supervisor/system.ts'
import type { Narrator } from './narrator.ts'
import { readProgress, writeProgress, type DemoProgress } from './progress.ts'
import { startReplay, type Pace, type Replay, type LiveRequest } from './replay.ts'
import { dataConverterOf } from '../../workflows/client/payload-codec.ts'
import type { FeatureRow } from '../../domain/model/features.ts'
import { checkout } from '../../temporal.config.ts'

export const demoModel = 'flight-delay'
/** Requester and approver must differ. */
export const people = {
  scheduler: 'demo-scheduler',
  approver: 'demo-approver',
  traffic: 'demo-traffic',
} as const

export interface DemoWorld {
  narrator: Narrator
  system: System
  store: Store
  temporal: Client
  scheduler: ApiClient
  approver: ApiClient
  definition: ModelDefinition
  events: RecordedEvents
  progress: DemoProgress
  /** API key of the traffic. */
  trafficKey: string
  /** The live traffic; absent before the first champion. */
  replay?: Replay
  /** Starts the traffic, or changes its rate. */
  flow(pace: Pace): Replay
  /** Stores the progress, because a stop may end Postgres before the demo. */
  saveProgress(): Promise<void>
  close(): Promise<void>
}

/** Two days, equal to the lookback that each window also reads. */
const eventWindowMs = 2 * 86_400_000
const temporalMs = 10_000
/** A busy machine may take long to connect, and the demo would end with everything that it has started. */
const busyMs = 60_000

export async function openWorld(system: System, narrator: Narrator): Promise<DemoWorld> {
  const { config, urls } = system
  const store = openStore(config.databaseUrl, {
    name: 'tenure demo',
    max: 3,
    connectMs: busyMs,
    queryMs: busyMs,
    signAudit: rowSigner(await openSigner(config.signing, 'artifacts')),
  })
  const connection = await Connection.connect({
    ...connectionOf(config.temporal),
    connectTimeout: temporalMs,
  })
  const temporal = new Client({
    connection,
    namespace: config.temporal.namespace,
    dataConverter: dataConverterOf(config.temporal),
  })
  const { definition } = await getModel(store, demoModel)
  // An interrupted demo may have left its fault active.
  await writeFaults(store, {})
  const events = await openEvents({
    definition,
    routingKey: `origin || '-' || destination`,
    windowMs: eventWindowMs,
  })
  const key = (name: string, role: 'operator' | 'approver' | 'predictor') => ensureKey(store, { name, role })
  const url = urls[0] ?? ''
  const trafficKey = await key(people.traffic, 'predictor')
  const schedulerKey = await key(people.scheduler, 'operator')
  const approverKey = await key(people.approver, 'approver')
  await awaitKeyAccepted(urls, approverKey)
  const world: DemoWorld = {
    narrator,
    system,
    store,
    temporal,
    scheduler: createClient({ url, key: schedulerKey }),
    approver: createClient({ url, key: approverKey }),
    definition,
    events,
    trafficKey,
    progress: await readProgress(store),
    flow(pace) {
      if (world.replay === undefined)
        world.replay = startReplay({
          urls,
          key: trafficKey,
          model: demoModel,
          events: events.from(world.progress.replayedToMs),
          pace,
        })
      else world.replay.pace(pace)
      return world.replay
    },
    async saveProgress() {
      world.progress = {
        ...world.progress,
        replayedToMs: world.replay?.nowMs() || world.progress.replayedToMs,
      }
      await writeProgress(store, world.progress)
    },
    async close() {
      await world.replay?.stop()
      await events.close()
      await connection.close()
      await store.close()
    },
  }
  return world
}

const pollMs = 100
const maxWaitMs = 60_000

/** Waits until every replica accepts the newest key, which takes a moment on a busy machine. */
async function awaitKeyAccepted(urls: readonly string[], key: string): Promise<void> {
  const deadline = Date.now() + maxWaitMs
  const isKnown = (url: string) =>
    fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } }).then(
      ({ status }) => status !== 401 && status !== 503,
      () => false,
    )
  for (const url of urls)
    while (!(await isKnown(url))) {
      if (Date.now() > deadline) throw new Error(`${url} does not accept the keys of the demo`)
      await pause(pollMs)
    }
}

// Reads recorded events with the features that a live client would have sent at that time. It uses the SQL of the model definition, so that
// training and serving features cannot diverge.

export interface RecordedEvents {
  /** Events from a time on, in order, one window at a time. */
  from(ms: number): AsyncGenerator<LiveRequest[]>
  span: { firstMs: number; lastMs: number }
  /** Waits for the pending read, then closes the database. */
  close(): Promise<void>
}

export interface EventsOptions {
  definition: ModelDefinition
  /** SQL for the routing key. */
  routingKey: string
  windowMs?: number
}

const hourMs = 3_600_000

/** Opens the records of a model with file sources. The next window is read while the current one is replayed. */
export async function openEvents({
  definition,
  routingKey,
  windowMs = 12 * hourMs,
}: EventsOptions): Promise<RecordedEvents> {
  const { source, label, features } = definition
  const { eventTime } = source
  const { knownAt } = label
  if (
    eventTime === undefined ||
    knownAt === undefined ||
    source.kind === 'postgres' ||
    source.kind === 'served'
  )
    throw new Error(`${definition.name} has no event times or no file source`)
  // One thread, because the replay shares the machine with the system.
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  const connection = await instance.connect()
  for (const [name, path] of Object.entries(source.files))
    await connection.run(
      `create view "${name}" as select * from ${source.kind === 'csv' ? 'read_csv' : 'read_parquet'}('${join(checkout, path)}')`,
    )
  await connection.run(`create view records as ${source.rows}`)
  const span = await readSpan(connection, eventTime)
  const names = Object.keys(features)

  const readNow = async (fromMs: number): Promise<LiveRequest[]> => {
    const [from, to] = [fromMs, fromMs + windowMs].map(timestamp)
    await connection.run(`create or replace temp table known as select * from records
      where "${eventTime}" >= ${from} - interval '${Math.ceil(source.lookbackMs / 1_000)} seconds' and "${eventTime}" < ${to}`)
    const reader = await connection.runAndReadAll(`
      select epoch_ms("${eventTime}")::double as at_ms, epoch_ms("${knownAt}")::double as known_ms,
        (${routingKey})::varchar as routing_key, "${label.column}" as outcome,
        ${names.map((name) => `"${name}"`).join(', ')}
      from (${source.derive ?? 'select * from known'})
      where "${eventTime}" >= ${from}
      order by "${eventTime}", routing_key, known_ms, outcome`)
    return reader.getRowObjects().map((row) => ({
      atMs: Number(row['at_ms']),
      knownAtMs: Number(row['known_ms']),
      routingKey: String(row['routing_key']),
      outcome: plain(row['outcome']) ?? 0,
      instance: Object.fromEntries(names.map((name) => [name, plain(row[name])])) as FeatureRow,
    }))
  }

  // Sequential, because each window replaces the table of the previous one.
  let reading: Promise<LiveRequest[]> = Promise.resolve([])
  const read = (fromMs: number): Promise<LiveRequest[]> => {
    const window = reading.then(() => readNow(fromMs))
    reading = window.catch(() => [])
    return window
  }

  return {
    span,
    async *from(ms) {
      let next = read(ms)
      for (let at = ms; at <= span.lastMs; at += windowMs) {
        const events = await next
        next = at + windowMs <= span.lastMs ? read(at + windowMs) : Promise.resolve([])
        // A consumer that stops early never awaits it; `close` does.
        next.catch(() => {})
        if (events.length > 0) yield events
      }
    },
    async close() {
      await reading
      connection.closeSync()
      instance.closeSync()
    },
  }
}

async function readSpan(connection: DuckDBConnection, eventTime: string) {
  const reader = await connection.runAndReadAll(
    `select epoch_ms(min("${eventTime}"))::double as first, epoch_ms(max("${eventTime}"))::double as last from records`,
  )
  const [row] = reader.getRowObjects()
  return { firstMs: Number(row?.['first']), lastMs: Number(row?.['last']) }
}

/** SQL literal of a timestamp without time zone. */
function timestamp(ms: number): string {
  return `timestamp '${new Date(ms).toISOString().replace('T', ' ').replace('Z', '')}'`
}

function plain(value: unknown): number | string | null {
  if (value === null || value === undefined) return null
  if (typeof value === 'bigint' || typeof value === 'boolean') return Number(value)
  return typeof value === 'number' || typeof value === 'string' ? value : String(value)
}
