/**
 * A real Temporal server on loopback, with its state in one SQLite file. Every release lives in it, so the file is in
 * WAL mode and survives a kill -9; the flags below measured six times the workflows per second of the defaults.
 * Beyond one machine any Temporal cluster takes its place by TEMPORAL_ADDRESS.
 */
import { Connection } from '@temporalio/client'
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs'
import { DomainError } from '../../domain/errors.ts'
import { readParts } from './binaries.ts'
import { expectFree, freePort, spawnProcess, whenReady } from './process.ts'
import type { ProcessSpec } from './process.ts'

export interface TemporalServerOptions {
  /** Its state; kept and used again by the next start. In memory when absent. */
  dbFile?: string
  /** A free one unless given. */
  port?: number
  /** A free one unless given; `false` for no user interface. */
  uiPort?: number | false
  /** Names of the search attributes to create, all of the type Keyword. */
  searchAttributes?: readonly string[]
  log?: (line: string) => void
}

export interface TemporalServer extends ProcessSpec {
  address: string
  uiUrl?: string
}

export interface RunningTemporal {
  address: string
  uiUrl?: string
  pid: number
  stop(): Promise<void>
}

const NAMESPACE = 'default'
const PROBE_MS = 1_000
const START = ['server', 'start-dev', '--ip', '127.0.0.1', '--log-level', 'error']

/**
 * One partition per task queue is enough for one machine and spares the forwarding between four. Of a workflow that hears
 * more than 100 signals while it is at work the server throws the work away, again and again for as long as they come,
 * unless it may keep more of them.
 */
const DYNAMIC = [
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'system.enableActivityEagerExecution=true',
  'history.maximumBufferedEventsBatch=5000',
]

/** How often it is tried: a port that was free may be taken a moment later, one that the server chooses by itself too. */
const attempts = 3

/** Starts it and waits until it serves. */
export async function startTemporal(options: TemporalServerOptions = {}): Promise<RunningTemporal> {
  for (let attempt = 1; ; attempt++)
    try {
      return await startOnce(options)
    } catch (error) {
      if (attempt === attempts || !String(error).includes('address already in use')) throw error
    }
}

async function startOnce(options: TemporalServerOptions): Promise<RunningTemporal> {
  const server = await planTemporal(options)
  const lines: string[] = []
  const running = await spawnProcess(server, (line) => {
    options.log?.(line)
    lines.push(line)
  })
  await whenReady(server, running).catch((error: Error) => {
    running.kill('SIGKILL')
    throw new DomainError('temporal_unavailable', `${error.message}: ${lines.slice(-5).join(' | ')}`)
  })
  return {
    address: server.address,
    uiUrl: server.uiUrl,
    pid: running.pid,
    async stop() {
      await running.stop()
    },
  }
}

/** Says how to run the server, for `startTemporal` and the supervisor. */
export async function planTemporal(options: TemporalServerOptions = {}): Promise<TemporalServer> {
  const { dbFile, searchAttributes = [] } = options
  if (options.port !== undefined) await expectFree(options.port, 'Temporal', 1_000)
  if (typeof options.uiPort === 'number') await expectFree(options.uiPort, "Temporal's user interface")
  const port = options.port ?? (await freePort())
  const uiPort = options.uiPort === false ? undefined : (options.uiPort ?? (await freePort()))
  const address = `127.0.0.1:${port}`
  return {
    name: 'temporal',
    command: readParts().temporal,
    args: [
      ...START,
      `--port=${port}`,
      ...(uiPort === undefined ? ['--headless'] : ['--ui-port', String(uiPort)]),
      ...(dbFile === undefined ? [] : ['--db-filename', dbFile]),
      ...(dbFile === undefined
        ? []
        : ['journal_mode=wal', 'synchronous=normal'].flatMap(flag('--sqlite-pragma'))),
      ...DYNAMIC.flatMap(flag('--dynamic-config-value')),
      ...searchAttributes.map((name) => `${name}=Keyword`).flatMap(flag('--search-attribute')),
    ],
    cwd: '/',
    stopSignal: 'SIGTERM',
    ...(dbFile === undefined
      ? { isReady: () => serves(address) }
      : {
          prepare: async () => dropUnfinished(dbFile),
          isReady: async () => (await serves(address)) && finish(dbFile),
        }),
    address,
    ...(uiPort === undefined ? {} : { uiUrl: `http://127.0.0.1:${uiPort}` }),
  }
}

/**
 * The server takes any file that exists for a complete one, so a kill during its very first start would leave half a
 * schema for ever. A mark beside the file says that the server once served from it; without it the file is made anew.
 */
const markOf = (dbFile: string) => `${dbFile}.complete`

function dropUnfinished(dbFile: string): void {
  if (existsSync(markOf(dbFile))) return
  for (const path of filesOf(dbFile)) rmSync(path, { force: true })
}

/** Also closes the files to other users of the machine; the server makes them readable to all. */
function finish(dbFile: string): true {
  for (const path of filesOf(dbFile)) if (existsSync(path)) chmodSync(path, 0o600)
  writeFileSync(markOf(dbFile), '')
  return true
}

const filesOf = (dbFile: string) => [dbFile, `${dbFile}-wal`, `${dbFile}-shm`]

const flag = (name: string) => (value: string) => [name, value]

/** Asks for the namespace, which is made last: a server that only accepts connections is not ready for workers. */
async function serves(address: string): Promise<boolean> {
  const connection = Connection.lazy({ address, connectTimeout: PROBE_MS })
  try {
    await connection.withDeadline(Date.now() + PROBE_MS, () =>
      connection.workflowService.describeNamespace({ namespace: NAMESPACE }),
    )
    return true
  } finally {
    await connection.close()
  }
}
