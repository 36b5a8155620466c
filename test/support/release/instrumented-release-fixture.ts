/** Runs releases with workers in child processes that a test kills or restarts with other workflow code. */
import type { Servers } from '../servers/servers.ts'
import { Client, Connection } from '@temporalio/client'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ReleasePolicy } from '../../../domain/release/policy.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { findRouting } from '../../../store/serving/routing.ts'
import { readConfig } from '../../../temporal.config.ts'
import { releaseWorkflowId } from '../../../workflows/messages.ts'
import type { release as releaseWorkflow } from '../../../workflows/release.ts'
import { insertModel, insertPeople } from './candidates.ts'
import { startFleet, type Fleet, type Traffic } from '../serving/replica-rows.ts'
import { seatChampion } from '../serving/seed-champion.ts'
import { fixtureRelease, type FixtureRelease } from './release-fixture.ts'
import type { CodeChange } from './histories.ts'
import { startInstrumentedWorker, writeBundle, type InstrumentedWorker } from './instrumented-workers.ts'
import { orderedStart } from '../commands/signed.ts'

export interface InstrumentedModel {
  name: string
  champion: string
  traffic: Traffic
  /** Registers the next version and starts its release; approves it if the policy requires approval. */
  release(): Promise<{ version: string; release: FixtureRelease }>
}

export interface InstrumentedFixture {
  store: Store
  client: Client
  fleet: Fleet
  environment: Record<string, string>
  model(policy: ReleasePolicy): Promise<InstrumentedModel>
  /** Starts a worker on the stage's queue. */
  worker(code: string, environment?: Record<string, string>): Promise<InstrumentedWorker>
  /** Returns the file with the compiled workflows, unchanged or with a change. */
  code(change?: CodeChange): Promise<string>
  close(): Promise<void>
}

export async function openInstrumentedFixture(
  servers: Servers,
  { namespace = 'default', leaseMs = 20_000 }: { namespace?: string; leaseMs?: number } = {},
): Promise<InstrumentedFixture> {
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-told-'))
  const store = openStore(servers.databaseUrl, {
    max: 8,
    connectMs: 60_000,
    queryMs: 60_000,
    onError: () => {},
  })
  const fleet = startFleet(store, { replicas: ['r1', 'r2'], tickMs: 50, leaseMs })
  const connection = await Connection.connect({ address: servers.temporalAddress, connectTimeout: 200_000 })
  const client = new Client({ connection, namespace })
  const queue = `told-${randomBytes(5).toString('hex')}`
  const environment = {
    DATABASE_URL: servers.databaseUrl,
    TEMPORAL_ADDRESS: servers.temporalAddress,
    TEMPORAL_NAMESPACE: namespace,
    TENURE_STATE: stateDir,
    TENURE_CONTROL_QUEUE: queue,
    TENURE_BUILD_ID: 'test',
  }
  const signing = { store, config: readConfig(environment) }
  const workers: InstrumentedWorker[] = []
  let codes = 0
  await insertPeople(store, { anna: 'approver', olga: 'operator' })
  return {
    store,
    client,
    fleet,
    environment,
    async worker(code, more = {}) {
      const worker = await startInstrumentedWorker(code, { ...environment, ...more })
      workers.push(worker)
      return worker
    },
    code: (change) => writeBundle(join(stateDir, `workflows-${codes++}.js`), change),
    async model(policy) {
      const name = `told-${randomBytes(5).toString('hex')}`
      const registry = await insertModel(store, {
        model: name,
        policy,
        artifactRoot: join(stateDir, 'artifacts'),
      })
      let champion = await registry.register()
      await seatChampion(store, name, champion)
      return {
        name,
        champion,
        traffic: fleet.trafficOf(name),
        async release() {
          champion = (await findRouting(store, name))?.route.proven ?? champion
          const version = await registry.register(champion)
          const handle = await client.workflow.start<typeof releaseWorkflow>('release', {
            workflowId: releaseWorkflowId(name),
            taskQueue: queue,
            workflowTaskTimeout: '3 s',
            args: [await orderedStart(signing, 'release', { model: name, version, requestedBy: 'olga' })],
          })
          const release = fixtureRelease(signing, handle)
          await release.reaches('awaiting_approval')
          await release.say('approve', 'anna')
          return { version, release }
        },
      }
    },
    async close() {
      await Promise.all(workers.filter((worker) => worker.alive()).map((worker) => worker.kill()))
      await fleet.stop()
      await connection.close()
      await store.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
