/**
 * Plans the processes of one machine and their dependencies, as data for the supervisor: servers first, then the workers and the API
 * replicas, which all need a migrated database.
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
  splitSecrets,
  type Config,
} from '../../temporal.config.ts'
import { archivedLogOf, embeddedDataDir } from '../state-dir.ts'
import { planPostgres, planTemporal, rolePassword, type ServerSpec } from '@tenure/embedded'
import { connectionOf } from '../client/temporal-connection.ts'
import { replicaName } from './rolling-restart.ts'
import type { SharedPort } from './shared-port.ts'
import type { ChildSpec } from './supervisor.ts'

export interface CorePlan {
  /** For the role of the processes. */
  databaseUrl: string
  /** For the owner, who migrates; absent if one role does both. */
  ownerDatabaseUrl?: string
  applicationPassword?: string
  /** For external queries; absent if the environment of the processes sets it. */
  readerUrl?: string
  readerPassword?: string
  temporalAddress: string
  temporalUi?: string
  servers: ServerSpec[]
}

export interface CoreOptions {
  stateDir: string
  /** Present if the database already runs elsewhere. */
  databaseUrl?: string
  ownerDatabaseUrl?: string
  temporalAddress?: string
  /** Present if backups are scheduled. */
  backups?: object
  /** Without `temporalUi`, Temporal's web UI is disabled. */
  ports: { postgres: number; temporal: number; temporalUi?: number }
}

/** Plans Postgres and Temporal, unless the caller brings its own. */
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
  const passwordOf = (role: 'app' | 'reader') => postgres && rolePassword(embeddedDataDir(stateDir), role)
  const applicationPassword = passwordOf('app')
  const readerPassword = passwordOf('reader')
  return {
    databaseUrl: postgres ? urlAs(postgres.url, applicationRole, applicationPassword) : String(databaseUrl),
    ownerDatabaseUrl: postgres?.url ?? options.ownerDatabaseUrl,
    applicationPassword,
    readerUrl: postgres && urlAs(postgres.url, readerRole, readerPassword),
    readerPassword,
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
  /** The servers that the processes need; the processes stop first. */
  servers: readonly ChildSpec[]
  environment: Record<string, string>
  /** Each port gets one API replica. */
  apiPorts: readonly number[]
  /** By replica, the ports of the replicas of a killed supervisor, which are taken again when those have ended. */
  keptPorts?: readonly number[]
  /** The port that all replicas also share. */
  sharedPort?: Pick<SharedPort, 'handle'>
  /** The pid file of a supervisor; its replicas continue when it is killed. */
  supervisor?: string
  /** Extra environment of each replica, by index. */
  replicaEnvironments?: readonly Record<string, string>[]
  /** Extra environment of the process that takes scheduled backups; absent without a schedule. */
  backups?: Record<string, string | undefined>
  /** Awaited before the first process starts. */
  prepare: () => Promise<void>
}

/**
 * Size of V8's young generation for gRPC, in MiB. A gRPC call allocates three times the objects of an HTTP call: with the 2 MiB used for
 * HTTP, each collection would copy the open calls.
 */
const youngMibOfGrpc = 16

const backupsName = 'backups'
/** Copies the last log file to an object store, which may be slow. */
const backupsGraceMs = 30_000

/** Plans the workers and the API replicas. */
export function planProcesses(options: ProcessOptions): ChildSpec[] {
  const { config, environment, apiPorts, sharedPort, supervisor } = options
  const servers = options.servers.map(({ name }) => name)
  // The process of the backups stops after those that write to the database, so that it copies their last writes.
  const after = options.backups === undefined ? servers : [...servers, backupsName]
  let prepared: Promise<void> | undefined
  const prepare = () => (prepared ??= options.prepare())
  const script = (...args: string[]) => ({ command: process.execPath, args, cwd: checkout, after, prepare })
  const call = createApiFetch(config.trust)
  const worker = (kind: 'control' | 'train', queue: string): ChildSpec => ({
    ...script(launcher, 'activities/worker.ts', kind),
    name: kind,
    ...splitSecrets(processEnvironment('worker', environment)),
    graceMs: 15_000,
    isReady: watchPollers(config.temporal, queue),
  })
  const replica = (port: number, index: number): ChildSpec => ({
    ...script(
      `--max-semi-space-size=${config.api.grpcPort === undefined ? 2 : youngMibOfGrpc}`,
      'api/start.mjs',
    ),
    name: replicaName(index),
    ...splitSecrets(
      processEnvironment('api', {
        ...environment,
        TENURE_PORT: String(port),
        TENURE_REPLICA: String(index + 1),
        ...(sharedPort && { TENURE_SHARED_FD: '3' }),
        TENURE_KEPT_PORT: options.keptPorts?.[index]?.toString(),
        ...(apiPorts.length > 1 && sharing),
        ...(supervisor !== undefined && { TENURE_SUPERVISOR: supervisor }),
        ...options.replicaEnvironments?.[index],
      }),
    ),
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
            name: backupsName,
            after: servers,
            graceMs: backupsGraceMs,
            ...splitSecrets(environmentWith({ ...environment, ...options.backups })),
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
 * Makes libuv yield to the other processes after each accepted connection. Otherwise one process would take and keep all connections that
 * arrive together.
 */
const sharing = { UV_TCP_SINGLE_ACCEPT: '1' }
const probeMs = 1_000

/** Returns the URL of a replica on this machine, or of the shared port. */
export const apiUrlAt = ({ host, tls }: Pick<Config['api'], 'host' | 'tls'>, port: number): string =>
  `${tls ? 'https' : 'http'}://${host}:${port}`

async function isAlive(call: ApiFetch, url: string): Promise<boolean> {
  const answer = await call(url, { signal: AbortSignal.timeout(probeMs) })
  await answer.body?.cancel()
  return answer.ok
}

/**
 * Returns a function that reports whether the worker with a pid polls Temporal for tasks. Compares pids, because Temporal lists the pollers
 * of a predecessor for minutes. Reuses one connection until then: a new connection for each check would take more than twice the CPU time
 * of this process and of Temporal.
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
      // A new connection is tried immediately; a failed one would be retried only after a growing backoff.
      await close()
      throw error
    }
  }
}

/** `TASK_QUEUE_TYPE_ACTIVITY` of Temporal's protocol. */
const queueTypeActivity = 2
