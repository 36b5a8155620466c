/**
 * A real Postgres 18 on loopback, from the binaries that npm brought. It holds the truth of the whole house, so it is
 * the genuine server with all its durability; a substitute in memory lost notifications and COPY when it was tried.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { DomainError } from '../../domain/errors.ts'
import { readParts } from './binaries.ts'
import { expectFree, freePort, spawnProcess, whenReady } from './process.ts'
import type { ProcessSpec } from './process.ts'
import { serverUser } from './state-dir.ts'

export interface PostgresOptions {
  /** Its files; kept and used again by the next start. Below it only Postgres' user may look. */
  dataDir: string
  /** A free one unless given. */
  port?: number
  /** Off only in tests: fewer flushes to disk, no password, more connections. */
  durable?: boolean
  log?: (line: string) => void
}

export interface PostgresServer extends ProcessSpec {
  /** Of the owner, who migrates. */
  url: string
  /** The password of the role of the processes; absent where none is asked for. */
  applicationPassword?: string
  port: number
}

export interface RunningPostgres {
  url: string
  port: number
  pid: number
  stop(): Promise<void>
}

const NAME = 'tenure'
const COPY_ROOT = '/var/lib/tenure'
/** How long the processes of a killed server may need to notice that their parent is gone. */
const ORPHANS_MS = 10_000

/** Room for several API replicas and workers on two cores; every row that was acknowledged is on the disk. */
const SETTINGS = {
  max_connections: '120',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  synchronous_commit: 'on',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '',
  log_checkpoints: 'off',
  // The details of an error are the rows that it was about.
  log_error_verbosity: 'terse',
  unix_socket_directories: '',
}

/** For the throw-away servers of tests; nothing in them outlives the run. */
const FAST = { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off', max_connections: '200' }

/** Starts it and waits until it serves. */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const server = await planPostgres(options)
  const lines: string[] = []
  const running = await spawnProcess(server, (line) => {
    options.log?.(line)
    lines.push(line)
  })
  await whenReady(server, running).catch((error: Error) => {
    running.kill('SIGKILL')
    throw new DomainError('postgres_unavailable', `${error.message}: ${lines.slice(-5).join(' | ')}`)
  })
  return {
    url: server.url,
    port: server.port,
    pid: running.pid,
    async stop() {
      await running.stop()
    },
  }
}

/** Makes the data directory when there is none and says how to run the server, for `startPostgres` and the supervisor. */
export async function planPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { dataDir, durable = true } = options
  const user = serverUser()
  const native = readableBinaries(readParts().postgres, user)
  const password = initialise({ native, dataDir, durable, user })
  if (options.port !== undefined) await expectFree(options.port, 'Postgres', 1_000)
  const port = options.port ?? (await freePort())
  const settings = {
    ...SETTINGS,
    ...(durable ? {} : FAST),
    port: String(port),
    listen_addresses: '127.0.0.1',
  }
  return {
    name: 'postgres',
    command: join(native, 'bin', 'postgres'),
    args: ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    cwd: '/',
    userId: user,
    stopSignal: 'SIGINT',
    graceMs: 20_000,
    prepare: () => clearLeftovers(dataDir),
    isReady: async (pid) => statusOf(dataDir, pid) === 'ready',
    applicationPassword: password === undefined ? undefined : applicationPassword(dataDir, user),
    url: `postgres://${NAME}${password === undefined ? '' : `:${password}`}@127.0.0.1:${port}/${NAME}`,
    port,
  }
}

/**
 * The binaries at a place where the server's user can run them. A checkout below a closed directory such as /root is
 * copied from, once; the copy is named by its origin's version and renamed into place, so it is whole or absent.
 */
function readableBinaries(native: string, user: number | undefined): string {
  if (runs(native, user)) return native
  const version = execFileSync(join(native, 'bin', 'postgres'), ['--version'])
    .toString()
    .trim()
  const digest = createHash('sha256').update(version).digest('hex').slice(0, 8)
  const copy = join(COPY_ROOT, `postgres-${digest}`)
  if (runs(copy, user)) return copy
  const draft = `${copy}.${process.pid}`
  mkdirSync(COPY_ROOT, { recursive: true, mode: 0o755 })
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true })
  openToAll(draft)
  rmSync(copy, { recursive: true, force: true })
  renameSync(draft, copy)
  if (runs(copy, user)) return copy
  throw new DomainError(
    'configuration_invalid',
    `the user nobody cannot run ${copy}/bin/postgres; is ${COPY_ROOT} mounted noexec?`,
  )
}

function runs(native: string, user: number | undefined): boolean {
  const who = user === undefined ? {} : { uid: user, gid: user }
  return spawnSync(join(native, 'bin', 'postgres'), ['--version'], { cwd: '/', ...who }).status === 0
}

function openToAll(directory: string): void {
  chmodSync(directory, 0o755)
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isSymbolicLink()) chmodSync(path, statSync(path).mode | (entry.isDirectory() ? 0o755 : 0o444))
  }
}

interface Initialise {
  native: string
  dataDir: string
  durable: boolean
  user: number | undefined
}

/**
 * Creates the data directory beside its final name and renames it, so an interrupted start leaves nothing half-made.
 * Returns the password; it lies inside the data directory, which only the server's user and root can enter.
 */
function initialise({ native, dataDir, durable, user }: Initialise): string | undefined {
  const secret = join(dataDir, 'tenure.password')
  if (existsSync(join(dataDir, 'PG_VERSION'))) return durable ? readFileSync(secret, 'utf8') : undefined
  const who = user === undefined ? {} : { uid: user, gid: user }
  const draft = `${dataDir}.new`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true, mode: 0o700 })
  if (user !== undefined) chownSync(draft, user, user)
  const initdb = [
    '--no-sync',
    '--locale=C.UTF-8',
    '--encoding=UTF8',
    '--auth=trust',
    `--username=${NAME}`,
    '-D',
    draft,
  ]
  execFileSync(join(native, 'bin', 'initdb'), initdb, { cwd: '/', stdio: 'pipe', ...who })
  const password = durable ? randomBytes(24).toString('hex') : undefined
  const statements = [
    `create database ${NAME}`,
    ...(durable ? [`alter role ${NAME} password '${password}'`] : []),
  ]
  execFileSync(join(native, 'bin', 'postgres'), ['--single', '-D', draft, 'postgres'], {
    cwd: '/',
    input: statements.map((statement) => `${statement};\n`).join(''),
    stdio: 'pipe',
    ...who,
  })
  const method = durable ? 'scram-sha-256' : 'trust'
  writeOwned(join(draft, 'pg_hba.conf'), `host all all 127.0.0.1/32 ${method}\n`, user)
  if (password !== undefined) writeOwned(join(draft, 'tenure.password'), password, user)
  rmSync(dataDir, { recursive: true, force: true })
  renameSync(draft, dataDir)
  return password
}

/** The address of the owner on a server that runs on this data; absent where this user may not know the password. */
export function embeddedOwnerUrl(dataDir: string, port: number): string | undefined {
  try {
    const password = readFileSync(join(dataDir, 'tenure.password'), 'utf8')
    return `postgres://${NAME}:${password}@127.0.0.1:${port}/${NAME}`
  } catch {
    return undefined
  }
}

/** Kept beside the owner's, where only the server's user and root can look; made at the first start that asks for it. */
function applicationPassword(dataDir: string, user: number | undefined): string {
  const secret = join(dataDir, 'tenure.app.password')
  if (!existsSync(secret)) writeOwned(secret, randomBytes(24).toString('hex'), user)
  return readFileSync(secret, 'utf8')
}

function writeOwned(path: string, text: string, user: number | undefined): void {
  writeFileSync(path, text, { mode: 0o600 })
  if (user !== undefined) chownSync(path, user, user)
}

/**
 * After kill -9 the server's helpers live on for a moment and hold its shared memory; a new server refuses to start
 * beside them. Every Postgres process stands in its data directory, which is how they are found. A server that is
 * still whole belongs to somebody and is left alone.
 */
async function clearLeftovers(dataDir: string): Promise<void> {
  const postmaster = Number(pidFile(dataDir)[0])
  const deadline = performance.now() + ORPHANS_MS
  for (let left = processesIn(dataDir); left.length > 0; left = processesIn(dataDir)) {
    if (left.includes(postmaster))
      throw new DomainError(
        'configuration_invalid',
        `process ${postmaster} already serves ${dataDir}; stop it first`,
        { dataDir },
      )
    if (performance.now() > deadline) for (const pid of left) process.kill(pid, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  rmSync(join(dataDir, 'postmaster.pid'), { force: true })
}

function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === directory
      } catch {
        return false
      }
    })
}

/** What the server writes into its pid file about itself, the same that `pg_ctl -w` waits for. */
function statusOf(dataDir: string, pid: number): string | undefined {
  const lines = pidFile(dataDir)
  return Number(lines[0]) === pid ? lines[7]?.trim() : undefined
}

function pidFile(dataDir: string): string[] {
  try {
    return readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')
  } catch {
    return []
  }
}
