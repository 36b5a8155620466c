/**
 * Opens the context of the demo: users with their keys, the recorded flights as live traffic, and read access to Postgres.
 * The demo acts through the HTTP API and Temporal only.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { Client, Connection } from '@temporalio/client'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import { getModel } from '../../store/registry/models.ts'
import { openStore, type Store } from '../../store/postgres.ts'
import { writeFaults } from '../../store/serving/replicas.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { createClient, type Client as ApiClient } from '../client/client.ts'
import { ensureKey } from '../supervisor/bootstrap.ts'
import type { System } from '../supervisor/system.ts'
import { openEvents, type RecordedEvents } from './events.ts'
import type { Narrator } from './narrator.ts'
import { readProgress, writeProgress, type DemoProgress } from './progress.ts'
import { startReplay, type Pace, type Replay } from './replay.ts'
import { dataConverterOf } from '../../temporal/payload-codec.ts'

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
