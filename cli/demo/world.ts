/**
 * Everything the story acts with: people (each with a key of their own), the recorded flights as live traffic, and
 * eyes on Postgres. The acts go through the HTTP API and Temporal like anybody else; Postgres is only looked at.
 */
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

export const demoModel = 'flight-delay'
/** Who asks for retrainings, and who approves: never the same. */
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
  /** The API, as each of them. */
  scheduler: ApiClient
  approver: ApiClient
  definition: ModelDefinition
  events: RecordedEvents
  place: DemoProgress
  /** The live traffic; there is none before the first champion. */
  replay?: Replay
  /** Lets the traffic flow from the place where the story is, at this pace. */
  flow(pace: Pace): Replay
  /** Writes down where the story is: a stop may take Postgres away before the end. */
  keepPlace(): Promise<void>
  close(): Promise<void>
}

/** Weeks pass in seconds between the acts, and each window is read with the two days that its features look back on. */
const eventWindowMs = 2 * 86_400_000
/** How long an answer of the servers is waited for. */
const temporalMs = 10_000

export async function openWorld(system: System, narrator: Narrator): Promise<DemoWorld> {
  const { config, urls } = system
  const store = openStore(config.databaseUrl, { name: 'tenure demo', max: 3 })
  const connection = await Connection.connect({
    ...connectionOf(config.temporal),
    connectTimeout: temporalMs,
  })
  const temporal = new Client({ connection, namespace: config.temporal.namespace })
  const { definition } = await getModel(store, demoModel)
  // A story that was ended in its last act has left its fault switched on.
  await writeFaults(store, {})
  const events = await openEvents({
    definition,
    routingKey: `origin || '-' || destination`,
    windowMs: eventWindowMs,
  })
  const key = (name: string, role: 'operator' | 'approver' | 'predictor') => ensureKey(store, { name, role })
  const url = urls[0] ?? ''
  const trafficKey = await key(people.traffic, 'predictor')
  const world: DemoWorld = {
    narrator,
    system,
    store,
    temporal,
    scheduler: createClient({ url, key: await key(people.scheduler, 'operator') }),
    approver: createClient({ url, key: await key(people.approver, 'approver') }),
    definition,
    events,
    place: await readProgress(store),
    flow(pace) {
      if (world.replay === undefined)
        world.replay = startReplay({
          urls,
          key: trafficKey,
          model: demoModel,
          events: events.from(world.place.replayedToMs),
          pace,
        })
      else world.replay.pace(pace)
      return world.replay
    },
    async keepPlace() {
      world.place = { ...world.place, replayedToMs: world.replay?.nowMs() || world.place.replayedToMs }
      await writeProgress(store, world.place)
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
