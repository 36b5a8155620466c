/**
 * Runs a Temporal server on loopback with its state in one SQLite file. WAL mode lets the file survive kill -9. The flags below reach six
 * times the workflows per second of the defaults.
 */
import { Connection } from '@temporalio/client'
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { thisMachine } from './install/machine.mjs'
import { temporalPath } from './install/temporal.mjs'
import { failure, freePort, requireFreePort, startServer } from './process.ts'
import type { RunningServer, ServerSpec } from './process.ts'

/** How Temporal runs. */
export interface TemporalServerOptions {
  /** State file, reused by the next start. If absent, the state is kept in memory. */
  dbFile?: string
  /** Default: a free port. */
  port?: number
  /** Default: a free port; `false` disables the user interface. */
  uiPort?: number | false
  /** Search attributes to create, of the type Keyword. */
  searchAttributes?: readonly string[]
  /** Time limit until the server accepts calls, in ms. */
  readyMs?: number
  log?: (line: string) => void
}

/** Temporal, to be started by `startServer` or a supervisor. */
export interface TemporalServer extends ServerSpec {
  /** Host and port of the gRPC API. */
  address: string
  uiUrl?: string
}

/** Temporal, accepting calls; it has the namespace `default`. */
export interface RunningTemporal extends RunningServer {
  /** Host and port of the gRPC API. */
  address: string
  uiUrl?: string
}

const defaultNamespace = 'default'
const probeMs = 1_000
const startArguments = ['server', 'start-dev', '--ip', '127.0.0.1', '--log-level', 'error']

/**
 * One partition per task queue avoids forwarding on one machine. With the larger event buffer, the server does not discard a workflow task
 * that receives more than 100 signals.
 */
const dynamicConfig = [
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'system.enableActivityEagerExecution=true',
  'history.maximumBufferedEventsBatch=5000',
]

const pragmas = ['journal_mode=wal', 'synchronous=normal']

/** Another process may take a free port before the server binds it. */
const maxAttempts = 3

/** Starts the server and waits until it accepts calls. */
export async function startTemporal(options: TemporalServerOptions = {}): Promise<RunningTemporal> {
  for (let attempt = 1; ; attempt++)
    try {
      return await startOnce(options)
    } catch (error) {
      if (attempt === maxAttempts || !String(error).includes('address already in use')) throw error
    }
}

async function startOnce(options: TemporalServerOptions): Promise<RunningTemporal> {
  const server = await planTemporal(options)
  const { address, uiUrl } = server
  return { address, uiUrl, ...(await startServer(server, options)) }
}

/** Returns the path of the Temporal CLI, which includes the server. Throws `configuration_invalid` if it is not installed. */
export function temporalCli(): string {
  const path = temporalPath(thisMachine())
  if (existsSync(path)) return path
  throw failure('configuration_invalid', `Temporal is not installed (${path} is missing): call \`install()\``)
}

/** Returns the process to run, for `startServer` or a supervisor. */
export async function planTemporal(options: TemporalServerOptions = {}): Promise<TemporalServer> {
  const { dbFile, searchAttributes = [] } = options
  if (options.port !== undefined) await requireFreePort(options.port, 'Temporal', 1_000)
  if (typeof options.uiPort === 'number') await requireFreePort(options.uiPort, "Temporal's pages")
  const port = options.port ?? (await freePort())
  const uiPort = options.uiPort === false ? undefined : (options.uiPort ?? (await freePort()))
  const address = `127.0.0.1:${port}`
  return {
    name: 'temporal',
    code: 'temporal_unavailable',
    command: temporalCli(),
    args: [
      ...startArguments,
      `--port=${port}`,
      ...(uiPort === undefined ? ['--headless'] : ['--ui-port', String(uiPort)]),
      ...(dbFile === undefined ? [] : ['--db-filename', dbFile, ...pragmas.flatMap(flag('--sqlite-pragma'))]),
      ...dynamicConfig.flatMap(flag('--dynamic-config-value')),
      ...searchAttributes.map((name) => `${name}=Keyword`).flatMap(flag('--search-attribute')),
    ],
    cwd: '/',
    prepare: async () => dropUnfinished(dbFile),
    isReady: async () => (await serves(address)) && finish(dbFile),
    address,
    uiUrl: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
  }
}

/** Returns the mark of a state file from which a server has served. A file without the mark may hold half a schema and is recreated. */
const markOf = (dbFile: string) => `${dbFile}.complete`

function dropUnfinished(dbFile: string | undefined): void {
  if (dbFile === undefined || existsSync(markOf(dbFile))) return
  for (const path of filesOf(dbFile)) rmSync(path, { force: true })
}

/** Restricts the files to their owner, because the server creates them readable to all, and marks them complete. */
function finish(dbFile: string | undefined): true {
  if (dbFile === undefined) return true
  for (const path of filesOf(dbFile)) if (existsSync(path)) chmodSync(path, 0o600)
  if (!existsSync(markOf(dbFile))) writeFileSync(markOf(dbFile), '')
  return true
}

const filesOf = (dbFile: string) => [dbFile, `${dbFile}-wal`, `${dbFile}-shm`]

const flag = (name: string) => (value: string) => [name, value]

/** Whether the namespace exists. The server creates it last, after it accepts connections. */
async function serves(address: string): Promise<boolean> {
  const connection = Connection.lazy({ address, connectTimeout: probeMs })
  try {
    await connection.withDeadline(Date.now() + probeMs, () =>
      connection.workflowService.describeNamespace({ namespace: defaultNamespace }),
    )
    return true
  } finally {
    await connection.close()
  }
}
