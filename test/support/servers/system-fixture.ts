/**
 * Runs the whole system as real processes under the real supervisor, for tests that kill processes: Postgres, Temporal, a control worker
 * and API replicas, with clients that send requests continuously.
 */
import { Client, Connection } from '@temporalio/client'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { connectionOf } from '../../../cli/client/temporal-connection.ts'
import { planCore, planProcesses, type CorePlan } from '../../../cli/supervisor/process-plan.ts'
import { freePort } from '@tenure/embedded'
import { embeddedDataDir } from '../../../cli/state-dir.ts'
import { bindSharedPort } from '../../../cli/supervisor/shared-port.ts'
import { supervise, type ChildSpec, type Supervision } from '../../../cli/supervisor/supervisor.ts'
import { migrateAsOwner } from '../../../cli/supervisor/bootstrap.ts'
import { insertKey, type NewKey } from '../../../store/access/api-keys.ts'
import { rowSigner } from '../../../store/audit/row-signatures.ts'
import { openStore, type Store } from '../../../store/postgres.ts'
import { openSigner } from '../../../store/signing/signing-key.ts'
import { dataConverterOf } from '../../../workflows/client/payload-codec.ts'
import {
  environmentWith,
  readCommandConfig,
  readConfig,
  systemEnvironment,
  type Config,
} from '../../../temporal.config.ts'
import { waitUntil } from '../serving/api-process.ts'
import { placePostgres } from './own-servers.ts'

export interface RealSystem {
  config: Config
  store: Store
  client: Client
  supervision: Supervision
  urls: string[]
  /** The port that the replicas share. */
  sharedUrl: string
  /** The last lines of all processes. */
  lines: string[]
  /** The supervisor's names of all processes. */
  processes: string[]
  /** Sends a signal to a process by its name in the supervisor: `postgres`, `temporal`, `control`, `api`, `api-2`. */
  signal(name: string, signal: NodeJS.Signals): void
  stop(): Promise<void>
}

export interface RealSystemOptions {
  replicas: number
  leaseMs: number
  /** Variables for single replicas, computed when the database is known. */
  replicaEnvironments?: (core: { databaseUrl: string; stateDir: string }) => Promise<Record<string, string>[]>
  /** Number of control workers. Default: 1. The second is `control-2`. */
  workers?: number
  /** Whether a training worker also runs. */
  trains?: boolean
  /** Prepares the migrated database before the processes start. */
  prepare?: (config: Config) => Promise<void>
  /** Receives every line of every process. */
  onLine?: (name: string, line: string) => void
  /** A running Temporal to use; `environment` holds its other settings. */
  temporalAddress?: string
  /** An existing state directory to use; `stop` keeps it. */
  stateDir?: string
  /** Additional variables of all processes and of those that read the settings of commands. */
  environment?: Record<string, string>
  /** Parent of the state directory. Default: the directory of temporary files. */
  stateRoot?: string
  /** Changes how single processes, including servers, start: through a link, with another clock, from other code. */
  changes?: (core: CorePlan & { stateDir: string }) => Promise<(spec: ChildSpec) => ChildSpec>
}

/** Returns the same process with additional variables, which also replace those that it gets by its standard input. */
export const withEnvironment = (spec: ChildSpec, variables: Record<string, string>): ChildSpec => ({
  ...spec,
  env: { ...(spec.env ?? systemEnvironment()), ...variables },
  ...(spec.input !== undefined && {
    input: JSON.stringify({ ...(JSON.parse(spec.input) as object), ...variables }),
  }),
})

export async function startRealSystem(options: RealSystemOptions): Promise<RealSystem> {
  const stateDir = options.stateDir ?? mkdtempSync(join(options.stateRoot ?? tmpdir(), 'tenure-faults-'))
  // Postgres runs as another user when the current user is root.
  chmodSync(stateDir, 0o711)
  if (options.stateDir === undefined) await placePostgres(embeddedDataDir(stateDir))
  const [postgres, temporal, temporalUi, ...apiPorts] = await Promise.all(
    Array.from({ length: 3 + options.replicas }, freePort),
  )
  const { backups } = readCommandConfig(environmentWith(options.environment ?? {}))
  const core = await planCore({
    stateDir,
    ...(backups && { backups }),
    temporalAddress: options.temporalAddress,
    ports: { postgres: postgres!, temporal: temporal!, temporalUi: temporalUi! },
  })
  const environment = {
    DATABASE_URL: core.databaseUrl,
    ...(core.readerUrl && { TENURE_READER_DATABASE_URL: core.readerUrl }),
    TEMPORAL_ADDRESS: core.temporalAddress,
    TENURE_STATE: stateDir,
    TENURE_PUBLIC_PREDICTIONS: 'on',
    TENURE_DRILLS: 'on',
    TENURE_REPLICA_LEASE_MS: String(options.leaseMs),
    ...options.environment,
  }
  const config = readConfig(environmentWith(environment))
  const lines: string[] = []
  const sharedPort = bindSharedPort({ host: '127.0.0.1', port: 0 })
  const replicaEnvironments = await options.replicaEnvironments?.({
    databaseUrl: core.databaseUrl,
    stateDir,
  })
  const processes = planProcesses({
    config,
    servers: core.servers,
    environment,
    apiPorts,
    sharedPort,
    replicaEnvironments,
    ...(backups && { backups: { TENURE_OWNER_DATABASE_URL: core.ownerDatabaseUrl } }),
    async prepare() {
      await migrateAsOwner(core.databaseUrl, core)
      await options.prepare?.(config)
    },
  }).filter(({ name }) => options.trains === true || name !== 'train')
  const control = processes.find(({ name }) => name === 'control')!
  for (let place = 2; place <= (options.workers ?? 1); place++)
    processes.push({ ...control, name: `control-${place}` })
  const changed = await options.changes?.({ ...core, stateDir })
  const specs = [...core.servers, ...processes].map((spec) => changed?.(spec) ?? spec)
  const supervision = await supervise(specs, {
    stateDir,
    signals: false,
    log: (name, line) => {
      options.onLine?.(name, line)
      lines.push(`${name} ${line}`)
      if (lines.length > 2_000) lines.shift()
    },
  }).catch((error: Error) => {
    throw new Error([error.message, ...lines.slice(-30)].join('\n  '), { cause: error })
  })
  // Its rows of the audit are signed as those of a process of the installation are: no head is signed after a row that is not.
  const signAudit = rowSigner(await openSigner(config.signing, 'artifacts'))
  const store = openStore(core.databaseUrl, { max: 4, signAudit, onError: () => {} })
  const connection = await Connection.connect({ ...connectionOf(config.temporal), connectTimeout: 200_000 })
  return {
    config,
    store,
    client: new Client({
      connection,
      namespace: config.temporal.namespace,
      dataConverter: dataConverterOf(config.temporal),
    }),
    supervision,
    urls: apiPorts.map((port) => `http://127.0.0.1:${port}`),
    sharedUrl: `http://127.0.0.1:${sharedPort.port}`,
    lines,
    processes: specs.map(({ name }) => name),
    signal(name, signal) {
      const pid = supervision.pidOf(name)
      if (pid === undefined) throw new Error(`${name} does not run`)
      process.kill(pid, signal)
    },
    async stop() {
      await connection.close()
      await store.close()
      await supervision.stop()
      sharedPort.close()
      if (options.stateDir === undefined) rmSync(stateDir, { recursive: true, force: true })
    },
  }
}

export interface Callers {
  /** Version → number of responses to requests that were sent since the last reset. */
  answered: Map<string, number>
  /**
   * Version → when the last request that it answered was sent, by `performance.now()`. The time of receipt would be late on a busy machine.
   */
  lastMs: Map<string, number>
  /** Failed requests with their reasons. */
  failures: { url: string; why: string; atMs: number }[]
  /** Resets the counters. */
  reset(): void
  stop(): Promise<void>
}

/** Makes a key and waits until every replica knows it. */
export async function insertKnownKey(
  { store, urls }: Pick<RealSystem, 'store' | 'urls'>,
  key: NewKey,
): Promise<string> {
  const made = await insertKey(store, key)
  for (const url of urls)
    await waitUntil(async () => {
      const answer = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${made.key}` } })
      await answer.body?.cancel()
      return answer.status !== 401
    }, `${key.name} at ${url}`)
  return made.key
}

/**
 * Sends predictions to every replica, a few at a time, each with a new routing key. A request fails without a response within `withinMs`.
 */
export function startCallers(
  urls: readonly string[],
  model: string,
  everyMs = 10,
  withinMs = 60_000,
): Callers {
  const stopping = new AbortController()
  let sinceMs = 0
  const callers: Callers = {
    answered: new Map(),
    lastMs: new Map(),
    failures: [],
    reset() {
      sinceMs = performance.now()
      callers.answered.clear()
      callers.failures.length = 0
    },
    stop: async () => {
      stopping.abort()
      await Promise.all(running)
      agent.destroy()
    },
  }
  let caller = 0
  const agent = new Agent({ keepAlive: true })
  const ask = async (url: string) => {
    const sentMs = performance.now()
    try {
      const { status, body } = await post(
        `${url}/v1/models/${model}/predict`,
        { instances: [{ x: Math.random(), y: 1 }], routing_key: `caller ${caller++}` },
        { agent, withinMs },
      )
      // A replica on a busy machine refuses requests that have waited for 250 ms; clients retry them.
      if (body.code === 'overloaded') return
      if (body.version === undefined) throw new Error(`${status} ${body.code ?? ''}`)
      if (sentMs >= sinceMs) callers.answered.set(body.version, (callers.answered.get(body.version) ?? 0) + 1)
      callers.lastMs.set(body.version, sentMs)
    } catch (error) {
      callers.failures.push({ url, why: (error as Error).message, atMs: Date.now() })
    }
  }
  const running = urls.map(async (url) => {
    while (!stopping.signal.aborted) {
      await ask(url)
      await pause(everyMs)
    }
  })
  return callers
}

/** Posts through an agent. `fetch` would take three times the CPU time. */
function post(
  url: string,
  what: object,
  { agent, withinMs }: { agent: Agent; withinMs: number },
): Promise<{ status: number | undefined; body: { version?: string; code?: string } }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      url,
      {
        method: 'POST',
        agent,
        headers: { 'content-type': 'application/json' },
        signal: AbortSignal.timeout(withinMs),
      },
      (response) => {
        json(response).then(
          (body) => resolve({ status: response.statusCode, body: body as { version?: string } }),
          reject,
        )
      },
    )
    asked.once('error', reject)
    asked.end(JSON.stringify(what))
  })
}
