/** Runs Postgres 18 on loopback from the binaries of an npm package, with full durability. */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { textOf } from './install/machine.mjs'
import { faultOfPostgres, postgresHome } from './install/postgres.mjs'
import { failure, freePort, requireFreePort, startServer } from './process.ts'
import type { RunningServer, ServerSpec } from './process.ts'

/** How Postgres runs. */
export interface PostgresOptions {
  /** Data directory, reused by the next start and readable by the user of Postgres only. */
  dataDir: string
  /** Default: a free port. */
  port?: number
  /** Default: true. False for tests: no fsync, no password, more connections. */
  durable?: boolean
  /** Directory that receives each complete file of the write-ahead log. Without it, Postgres does not archive its log. */
  archiveTo?: string
  /** Extra settings, for a recovery. */
  settings?: Readonly<Record<string, string>>
  /** Time limit until the server accepts connections, in ms; longer for a recovery. */
  readyMs?: number
  log?: (line: string) => void
}

/** Postgres, to be started by `startServer` or a supervisor. */
export interface PostgresServer extends ServerSpec {
  /** Connects as the owner of the database. */
  url: string
  port: number
}

/** Postgres, accepting connections. */
export interface RunningPostgres extends RunningServer {
  /** Connects as the owner of the database. */
  url: string
  port: number
}

/** The unprivileged user id of Linux. Postgres refuses root, so it runs as this user when started by root. */
const unprivilegedUser = 65_534

/** A folder that the user of Postgres can read, unlike the home of root. */
export const sharedRoot = '/var/lib/tenure'

/** Returns the user id for Postgres; undefined for the current user. */
export function serverUser(): number | undefined {
  return process.getuid?.() === 0 ? unprivilegedUser : undefined
}

/** The database, and the role that owns it. */
const databaseName = 'tenure'
/** Time limit for the helper processes of a killed server to end. */
const orphansMs = 10_000

/** Sized for several API replicas and workers on two cores; acknowledged rows are durable. */
const defaultSettings = {
  max_connections: '120',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  synchronous_commit: 'on',
  timezone: 'UTC',
  lc_messages: 'C.UTF-8',
  log_timezone: 'UTC',
  log_line_prefix: '',
  log_checkpoints: 'off',
  // Error details contain row values.
  log_error_verbosity: 'terse',
  unix_socket_directories: '',
}

/** For servers of tests, whose data is discarded. */
const fastSettings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  max_connections: '200',
  autovacuum: 'off',
}

/**
 * Starts Postgres and waits until it accepts connections. Without `dataDir`, the data lie in a temporary directory, which `stop` removes, and
 * are not durable.
 */
export async function startPostgres(options: Partial<PostgresOptions> = {}): Promise<RunningPostgres> {
  if (options.dataDir === undefined) return startForNow(options)
  const server = await planPostgres({ ...options, dataDir: options.dataDir })
  const { url, port } = server
  return { url, port, ...(await startServer(server, options)) }
}

async function startForNow(options: Partial<PostgresOptions>): Promise<RunningPostgres> {
  const home = mkdtempSync(join(tmpdir(), 'postgres-'))
  // For root, Postgres runs as another user.
  chmodSync(home, 0o711)
  const remove = () => rmSync(home, { recursive: true, force: true })
  try {
    const running = await startPostgres({ durable: false, ...options, dataDir: join(home, 'data') })
    return { ...running, stop: () => running.stop().finally(remove) }
  } catch (error) {
    remove()
    throw error
  }
}

/** Returns the folder with the `bin`, `lib` and `share` of Postgres. Throws `configuration_invalid` if it is not installed. */
export function postgresBinaries(): string {
  const home = postgresHome(process)
  const fault = faultOfPostgres(home)
  if (home !== undefined && fault === undefined) return join(home, 'native')
  throw failure('configuration_invalid', `Postgres is not installed (${fault}): call \`install()\``)
}

/** Creates the data directory if needed and returns the process to run, for `startServer` or a supervisor. */
export async function planPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { dataDir, durable = true } = options
  if (options.port !== undefined) await requireFreePort(options.port, 'Postgres', 1_000)
  const user = serverUser()
  const native = readableBinaries(postgresBinaries(), user)
  const password = initialise({ native, dataDir, durable, user })
  const port = options.port ?? (await freePort())
  const settings = {
    ...defaultSettings,
    ...(durable ? {} : fastSettings),
    ...(options.archiveTo === undefined ? {} : archiving(options.archiveTo, user)),
    ...options.settings,
    port: String(port),
    listen_addresses: '127.0.0.1',
  }
  return {
    name: 'postgres',
    code: 'postgres_unavailable',
    command: join(native, 'bin', 'postgres'),
    args: ['-D', dataDir, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    cwd: '/',
    userId: user,
    stopSignal: 'SIGINT',
    graceMs: 20_000,
    prepare: () => clearLeftovers(dataDir),
    isReady: async (pid) => statusOf(dataDir, pid) === 'ready',
    url: `postgres://${databaseName}${password === undefined ? '' : `:${password}`}@127.0.0.1:${port}/${databaseName}`,
    port,
  }
}

/** Postgres completes a log file at least this often, so losing the machine loses at most this much time. */
const archiveSeconds = 30

/**
 * Returns the settings that archive the log. A file gets its final name after its bytes are on disk. An existing file must have the same
 * bytes.
 */
function archiving(directory: string, user: number | undefined): Record<string, string> {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  if (user !== undefined) chownSync(directory, user, user)
  const place = `'${directory.replaceAll("'", String.raw`'\''`)}'`.replaceAll('%', '%%')
  const copied = `cp "%p" "$f.part" && sync "$f.part" && mv "$f.part" "$f" && sync ${place}`
  return {
    archive_mode: 'on',
    archive_timeout: `${archiveSeconds}s`,
    archive_command: `f=${place}/%f; if [ -e "$f" ]; then cmp -s "%p" "$f"; else ${copied}; fi`,
  }
}

/** Sets the password of the owner in a data directory while its server is stopped. */
export function renewOwnerPassword(dataDir: string): void {
  const user = serverUser()
  const native = readableBinaries(postgresBinaries(), user)
  const password = readFileSync(join(dataDir, ownerSecret), 'utf8')
  execFileSync(join(native, 'bin', 'postgres'), ['--single', '-D', dataDir, 'postgres'], {
    cwd: '/',
    stdio: 'pipe',
    uid: user,
    gid: user,
    input: `alter role ${databaseName} password '${password}';\n`,
  })
}

/**
 * Writes the files of a data directory that say who may connect and how the server runs, for a new or restored one. All settings are on the
 * command line. Returns the password of the owner, which `renewOwnerPassword` applies; undefined without authentication.
 */
export function writeServerFiles(dataDir: string, { durable } = { durable: true }): string | undefined {
  const user = serverUser()
  const access = `host all all 127.0.0.1/32 ${durable ? 'scram-sha-256' : 'trust'}\n`
  const files = {
    'postgresql.conf': '',
    'postgresql.auto.conf': '',
    'pg_hba.conf': access,
    'pg_ident.conf': '',
    ...(durable && { [ownerSecret]: randomBytes(24).toString('hex') }),
  }
  for (const [name, text] of Object.entries(files)) writeOwned(join(dataDir, name), text, user)
  return files[ownerSecret]
}

const ownerSecret = 'tenure.password'

/**
 * Returns binaries that the server's user can run. Copies the binaries of a checkout below a private directory such as /root once, and
 * renames the copy into place, so that it is either complete or absent.
 */
function readableBinaries(native: string, user: number | undefined): string {
  if (runs(native, user)) return native
  const version = execFileSync(join(native, 'bin', 'postgres'), ['--version'], { encoding: 'utf8' }).trim()
  const digest = createHash('sha256').update(version).digest('hex').slice(0, 8)
  const copy = join(sharedRoot, `postgres-${digest}`)
  if (runs(copy, user)) return copy
  const draft = `${copy}.${process.pid}`
  mkdirSync(sharedRoot, { recursive: true })
  chmodSync(sharedRoot, 0o711)
  cpSync(native, draft, { recursive: true, verbatimSymlinks: true })
  openToAll(draft)
  rmSync(copy, { recursive: true, force: true })
  renameSync(draft, copy)
  if (runs(copy, user)) return copy
  throw failure(
    'configuration_invalid',
    `the user of Postgres (id ${user}) cannot run ${copy}/bin/postgres; check whether ${sharedRoot} is mounted noexec`,
  )
}

function runs(native: string, user: number | undefined): boolean {
  const identity = { uid: user, gid: user }
  return spawnSync(join(native, 'bin', 'postgres'), ['--version'], { cwd: '/', ...identity }).status === 0
}

function openToAll(directory: string): void {
  chmodSync(directory, 0o755)
  for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isSymbolicLink()) chmodSync(path, statSync(path).mode | (entry.isDirectory() ? 0o755 : 0o444))
  }
}

/**
 * Creates the data directory under a draft name and renames it, so that an interrupted start leaves no partial directory.
 * Returns the password, which is stored inside the directory.
 */
function initialise(server: {
  native: string
  dataDir: string
  durable: boolean
  user: number | undefined
}): string | undefined {
  const { native, dataDir, durable, user } = server
  const secret = join(dataDir, ownerSecret)
  if (existsSync(join(dataDir, 'PG_VERSION'))) return durable ? readFileSync(secret, 'utf8') : undefined
  const as = { cwd: '/', stdio: 'pipe' as const, uid: user, gid: user }
  const draft = `${dataDir}.new`
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(draft, { recursive: true, mode: 0o700 })
  if (user !== undefined) chownSync(draft, user, user)
  const flags = [
    '--no-sync',
    '--locale=C.UTF-8',
    '--encoding=UTF8',
    '--auth=trust',
    `--username=${databaseName}`,
  ]
  const run = (program: string, args: string[], input?: string) => {
    try {
      execFileSync(join(native, 'bin', program), args, { ...as, input })
    } catch (error) {
      throw notCreated(dataDir, program, error as Error & { stderr?: Buffer })
    }
  }
  run('initdb', [...flags, '-D', draft])
  const password = writeServerFiles(draft, { durable })
  const statements = [
    `create database ${databaseName}`,
    ...(durable ? [`alter role ${databaseName} password '${password}'`] : []),
  ]
  run(
    'postgres',
    ['--single', '-D', draft, 'postgres'],
    statements.map((statement) => `${statement};\n`).join(''),
  )
  rmSync(dataDir, { recursive: true, force: true })
  renameSync(draft, dataDir)
  return password
}

/** An error with what the program has said, such as of a full disk, or of a user id without an entry in /etc/passwd. */
function notCreated(dataDir: string, program: string, error: Error & { stderr?: Buffer }): Error {
  const said = error.stderr?.toString().trim() || error.message
  return failure(
    said.includes('No space left on device') ? 'no_room' : 'configuration_invalid',
    `${program} cannot create ${dataDir}: ${said.replaceAll(/\s*\n\s*/g, '; ')}`,
  )
}

/** Returns the owner's address of a running server; undefined if this user cannot read the password. */
export function embeddedOwnerUrl(dataDir: string, port: number): string | undefined {
  const password = textOf(join(dataDir, ownerSecret))
  return password && `postgres://${databaseName}:${password}@127.0.0.1:${port}/${databaseName}`
}

/** Returns the password for a role of a durable server, which lies in the data directory. Creates it at the first call; not the role. */
export function rolePassword(dataDir: string, role: string): string {
  const secret = join(dataDir, `tenure.${role}.password`)
  if (!existsSync(secret)) writeOwned(secret, randomBytes(24).toString('hex'), serverUser())
  return readFileSync(secret, 'utf8')
}

function writeOwned(path: string, text: string, user: number | undefined): void {
  writeFileSync(path, text, { mode: 0o600 })
  if (user !== undefined) chownSync(path, user, user)
}

/**
 * Waits for the helper processes of a killed server, then kills them. A new server refuses to start while they hold the shared memory.
 * Finds them by their working directory. Throws `configuration_invalid` while the server itself runs.
 */
async function clearLeftovers(dataDir: string): Promise<void> {
  const postmaster = Number(pidFile(dataDir)[0])
  const deadline = performance.now() + orphansMs
  for (let left = processesIn(dataDir); left.length > 0; left = processesIn(dataDir)) {
    if (left.includes(postmaster))
      throw failure(
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

/** Reads the status from the server's pid file, as `pg_ctl -w` does. */
function statusOf(dataDir: string, pid: number): string | undefined {
  const lines = pidFile(dataDir)
  return Number(lines[0]) === pid ? lines[7]?.trim() : undefined
}

const pidFile = (dataDir: string): string[] => textOf(join(dataDir, 'postmaster.pid'))?.split('\n') ?? []
