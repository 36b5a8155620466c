/**
 * The processes of one machine and what each waits for, as data for the supervisor: servers first, then the workers
 * and the API replicas, which all need a migrated database.
 */
import { Connection } from '@temporalio/client'
import { join } from 'node:path'
import { applicationRole } from '../../store/database/application-role.ts'
import { readerRole } from '../../store/postgres.ts'
import { createApiFetch, type ApiFetch } from '../../store/tls/api-fetch.ts'
import {
  checkout,
  environmentWith,
  launcher,
  processEnvironment,
  searchAttributes,
  type Config,
} from '../../temporal.config.ts'
import { archivedLogOf, embeddedDataDir } from '../embedded/state-dir.ts'
import { planPostgres } from '../embedded/postgres.ts'
import { connectionOf } from '../client/temporal-connection.ts'
import { planTemporal } from '../embedded/temporal.ts'
import { replicaName } from './rolling-restart.ts'
import type { SharedPort } from './shared-port.ts'
import type { ChildSpec } from './supervisor.ts'

export interface CorePlan {
  /** Of the processes. */
  databaseUrl: string
  /** Of the owner, who migrates; absent when there is one role for all. */
  ownerDatabaseUrl?: string
  applicationPassword?: string
  /** Of queries from outside; absent where the variable of the processes says it. */
  readerUrl?: string
  readerPassword?: string
  temporalAddress: string
  temporalUi?: string
  servers: ChildSpec[]
}

export interface CoreOptions {
  stateDir: string
  /** Servers that are there already. */
  databaseUrl?: string
  ownerDatabaseUrl?: string
  temporalAddress?: string
  /** Present when backups are scheduled. */
  backups?: object
  /** Without a port, Temporal's own pages are off. */
  ports: { postgres: number; temporal: number; temporalUi?: number }
}

/** The two servers, unless the caller has some of their own. */
export async function planCore(options: CoreOptions): Promise<CorePlan> {
  const { stateDir, ports, databaseUrl, temporalAddress } = options
  const postgres =
    databaseUrl === undefined
      ? await planPostgres({
          dataDir: embeddedDataDir(stateDir),
          port: ports.postgres,
          archiveTo: options.backups && archivedLogOf(stateDir),
        })
      : undefined
  const temporal =
    temporalAddress === undefined
      ? await planTemporal({
          dbFile: join(stateDir, 'temporal.db'),
          port: ports.temporal,
          uiPort: ports.temporalUi ?? false,
          searchAttributes,
        })
      : undefined
  return {
    databaseUrl: postgres
      ? urlAs(postgres.url, applicationRole, postgres.applicationPassword)
      : String(databaseUrl),
    ownerDatabaseUrl: postgres?.url ?? options.ownerDatabaseUrl,
    applicationPassword: postgres?.applicationPassword,
    readerUrl: postgres && urlAs(postgres.url, readerRole, postgres.readerPassword),
    readerPassword: postgres?.readerPassword,
    temporalAddress: temporal?.address ?? String(temporalAddress),
    temporalUi: temporal?.uiUrl,
    servers: [postgres, temporal].filter((each) => each !== undefined),
  }
}

function urlAs(url: string, role: string, password = ''): string {
  const changed = new URL(url)
  changed.username = role
  changed.password = password
  return changed.toString()
}

export interface ProcessOptions {
  config: Config
  /** What they need and end before. */
  servers: readonly ChildSpec[]
  environment: Record<string, string>
  /** One API replica listens on each. */
  apiPorts: readonly number[]
  /** The port that they share beside their own. */
  sharedPort?: Pick<SharedPort, 'handle'>
  /** The file of a supervisor whose death the replicas outlive. */
  supervisor?: string
  /** What single replicas get of their own, by their place. */
  replicaEnvironments?: readonly Record<string, string>[]
  /** What the process that takes scheduled backups gets of its own; absent without a schedule. */
  backups?: Record<string, string | undefined>
  /** Awaited before the first of them starts. */
  prepare: () => Promise<void>
}

/** A call over gRPC makes three times the objects of one over HTTP: in the 2 MiB that suffice for those, each collection copies the open calls. */
const youngMibOfGrpc = 16

/** The workers and the API replicas. */
export function planProcesses(options: ProcessOptions): ChildSpec[] {
  const { config, environment, apiPorts, sharedPort, supervisor } = options
  const after = options.servers.map(({ name }) => name)
  let prepared: Promise<void> | undefined
  const prepare = () => (prepared ??= options.prepare())
  const script = (...args: string[]) => ({ command: process.execPath, args, cwd: checkout, after, prepare })
  const call = createApiFetch(config.trust)
  const worker = (kind: 'control' | 'train', queue: string): ChildSpec => ({
    ...script(launcher, 'activities/worker.ts', kind),
    name: kind,
    env: processEnvironment('worker', environment),
    graceMs: 15_000,
    isReady: watchPollers(config.temporal, queue),
  })
  const replica = (port: number, index: number): ChildSpec => ({
    ...script(
      `--max-semi-space-size=${config.api.grpcPort === undefined ? 2 : youngMibOfGrpc}`,
      'api/start.mjs',
    ),
    name: replicaName(index),
    env: processEnvironment('api', {
      ...environment,
      TENURE_PORT: String(port),
      TENURE_REPLICA: String(index + 1),
      ...(sharedPort && { TENURE_SHARED_FD: '3' }),
      ...(apiPorts.length > 1 && sharing),
      ...(supervisor !== undefined && { TENURE_SUPERVISOR: supervisor }),
      ...options.replicaEnvironments?.[index],
    }),
    inherits: sharedPort && [sharedPort.handle],
    outlives: supervisor !== undefined,
    isReady: () => isAlive(call, `${apiUrlAt(config.api, port)}/livez`),
  })
  const backups: ChildSpec[] =
    options.backups === undefined
      ? []
      : [
          {
            ...script(launcher, 'cli/tenure.ts', 'backup', 'run'),
            name: 'backups',
            env: environmentWith({ ...environment, ...options.backups }),
          },
        ]
  return [
    ...backups,
    worker('control', config.taskQueues.control),
    worker('train', config.taskQueues.train),
    ...apiPorts.map(replica),
  ]
}

/**
 * Asks libuv to let the others have their turn after each connection: without it one process takes all that arrive at once, and keeps
 * them.
 */
const sharing = { UV_TCP_SINGLE_ACCEPT: '1' }
const probeMs = 1_000

/** Of a replica on this machine, or of the port that they share. */
export const apiUrlAt = ({ host, tls }: Pick<Config['api'], 'host' | 'tls'>, port: number): string =>
  `${tls ? 'https' : 'http'}://${host}:${port}`

async function isAlive(call: ApiFetch, url: string): Promise<boolean> {
  const answer = await call(url, { signal: AbortSignal.timeout(probeMs) })
  await answer.body?.cancel()
  return answer.ok
}

/**
 * Tells whether the worker with a pid asks Temporal for tasks; the pollers of its predecessor stay listed for minutes. It keeps its
 * connection until then: to open one for each question takes more than twice the processor time, of this process and of Temporal.
 */
function watchPollers(temporal: Config['temporal'], queue: string): (pid: number) => Promise<boolean> {
  let open: Connection | undefined
  const close = async () => {
    const connection = open
    open = undefined
    await connection?.close()
  }
  return async (pid) => {
    const connection = (open ??= Connection.lazy({ ...connectionOf(temporal), connectTimeout: probeMs }))
    try {
      const { pollers } = await connection.withDeadline(Date.now() + probeMs, () =>
        connection.workflowService.describeTaskQueue({
          namespace: temporal.namespace,
          taskQueue: { name: queue },
          taskQueueType: queueTypeActivity,
        }),
      )
      const isPolled = (pollers ?? []).some(({ identity }) => identity?.startsWith(`${pid}@`))
      if (isPolled) await close()
      return isPolled
    } catch (error) {
      // A new connection is tried at once, a failed one only after a pause that grows.
      await close()
      throw error
    }
  }
}

/** `TASK_QUEUE_TYPE_ACTIVITY` of Temporal's protocol. */
const queueTypeActivity = 2
