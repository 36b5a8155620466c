/** Runs a control worker in the test's process, on the real servers, with a database and a task queue for the test file. */
import type { Servers } from '../servers/servers.ts'
import { Client, Connection } from '@temporalio/client'
import { NativeConnection } from '@temporalio/worker'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  bundleWorkflows,
  createControlWorker,
  type WorkflowBundle,
} from '../../../activities/worker/create-worker.ts'
import { openWorkerTracing } from '../../../activities/tracing/worker-tracing.ts'
import type { Deps } from '../../../activities/deps.ts'
import { openSharedArtifacts } from '../../../store/objects/artifact-copies.ts'
import { rowSigner } from '../../../store/audit/row-signatures.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { readConfig, type Config } from '../../../temporal.config.ts'
import { quietRuntime } from '../servers/silence-temporal.ts'
import { dataConverterOf } from '../../../workflows/client/payload-codec.ts'

export interface Core {
  config: Config
  store: Store
  client: Client
  deps: Deps
  /** Lines that the activities have logged. */
  lines: { level: string; message: string; fields: Record<string, unknown> }[]
  stop(): Promise<void>
}

const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
const bundles = new Map<boolean, Promise<WorkflowBundle>>()
function bundleOf(traced: boolean): Promise<WorkflowBundle> {
  const found = bundles.get(traced) ?? bundleWorkflows(silent, traced)
  bundles.set(traced, found)
  return found
}

const queue = (kind: string) => `${kind}-${randomBytes(5).toString('hex')}`

export async function startCore(servers: Servers, environment: Record<string, string> = {}): Promise<Core> {
  quietRuntime()
  const stateDir = mkdtempSync(join(tmpdir(), 'tenure-core-'))
  const config = readConfig({
    DATABASE_URL: servers.databaseUrl,
    TEMPORAL_ADDRESS: servers.temporalAddress,
    TENURE_STATE: stateDir,
    TENURE_CONTROL_QUEUE: queue('control'),
    TENURE_TRAIN_QUEUE: queue('train'),
    TENURE_BUILD_ID: 'test',
    ...environment,
  })
  const signAudit = rowSigner(await openSigner(config.signing, 'replicas'))
  const facts = { kind: 'control', version: 'test', onError: () => {} }
  const tracing = config.telemetry && (await openWorkerTracing(config.telemetry, facts))
  const store = openStore(config.databaseUrl, {
    metricSources: config.metricSources,
    watchStatement: tracing?.watchStatement,
    max: 12,
    connectMs: 60_000,
    queryMs: 60_000,
    onError: () => {},
    signAudit,
  })
  const lines: Core['lines'] = []
  const say = (level: string) => (fields: Record<string, unknown>, message: string) =>
    void lines.push({ level, message, fields })
  const log = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
  const deps: Deps = { store, artifacts: openSharedArtifacts(config), config, log, tracing }
  const native = await NativeConnection.connect({ address: config.temporal.address })
  const worker = await createControlWorker(deps, native, await bundleOf(tracing !== undefined))
  const running = worker.run()
  const connection = await Connection.connect({ address: config.temporal.address, connectTimeout: 200_000 })
  const client = new Client({
    connection,
    namespace: config.temporal.namespace,
    dataConverter: dataConverterOf(config.temporal),
  })
  return {
    config,
    store,
    client,
    deps,
    lines,
    async stop() {
      worker.shutdown()
      await running
      await tracing?.stop()
      await native.close()
      await connection.close()
      await store.close()
      rmSync(stateDir, { recursive: true, force: true })
    },
  }
}
