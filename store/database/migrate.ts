/**
 * Migrates a database to the schema of this build. Every process may call it at start-up: one migrates under an advisory lock and the
 * others wait, so that no process sees a partial schema.
 */
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createHash } from 'node:crypto'
import { runner } from 'node-pg-migrate'
import pg from 'pg'
import sql from 'sql-template-tag'
import { home } from '../../project.mjs'
import { rethrow, type Database } from '../postgres.ts'
import { tlsIssueOfPostgres } from '../tls/certificate.ts'
import { rowsFrom } from './from-row.ts'
import { readServiceState, writeServiceState } from './key-value.ts'

export const migrationsDir = join(home, 'migrations')

/** The migrations of this build in order, without file extensions. */
export async function listMigrations(directory = migrationsDir): Promise<string[]> {
  const files = await readdir(directory)
  return files
    .filter((name) => name.endsWith('.sql'))
    .map((name) => name.slice(0, -'.sql'.length))
    .sort()
}

export const readMigration = (name: string, directory = migrationsDir): Promise<string> =>
  readFile(join(directory, `${name}.sql`), 'utf8')

/** How long a process waits for another one that migrates. */
const lockWaitMs = 120_000
/**
 * A migration holds locks that others wait for. The server checks every second whether its client is alive, even during a statement, and
 * ends a session that is idle for a minute, so the changes of a dead migrator are rolled back before the next one starts.
 */
const session = '-c client_connection_check_interval=1000 -c idle_in_transaction_session_timeout=60000'

/**
 * Runs all pending migrations in one transaction. Returns the names of the migrations that this call ran. A role that does not own the
 * tables may call it too: without pending migrations, reading suffices.
 */
export async function migrate(url: string, directory = migrationsDir): Promise<string[]> {
  if (await isCurrent(url, directory)) return []
  const silent = () => {}
  // With a connection of its own, the runner would not await the end of that connection.
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    lock_timeout: lockWaitMs,
    options: session,
    application_name: 'tenure-migrate',
  })
  // A lost connection fails the statement that needs it.
  client.on('error', silent)
  await client.connect()
  try {
    const ran = await runner({
      dbClient: client,
      dir: join(directory, '*.sql'),
      useGlob: true,
      migrationsTable: 'migrations',
      migrationLoaderStrategies: [{ extensions: ['.sql'], loader: 'sql' }],
      advisoryLockMode: 'wait',
      direction: 'up',
      singleTransaction: true,
      checkOrder: true,
      logger: { info: silent, warn: silent, error: silent },
    })
    return ran.map((migration) => migration.name)
  } finally {
    await client.end()
  }
}

/** Explains why a connection is not encrypted as required. */
function rethrowTls(error: unknown): never {
  if (tlsIssueOfPostgres(error) !== undefined) rethrow(error)
  throw error
}

async function isCurrent(url: string, directory: string): Promise<boolean> {
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    query_timeout: 10_000,
    application_name: 'tenure-migrate',
  })
  await client.connect().catch(rethrowTls)
  try {
    const [expected, { rows }] = await Promise.all([
      listMigrations(directory),
      client.query<{ there: boolean }>(`select to_regclass('migrations') is not null as there`),
    ])
    if (rows[0]?.there !== true) return false
    const ran = await client.query<{ name: string }>('select name from migrations')
    const names = new Set(ran.rows.map(({ name }) => name))
    return expected.every((name) => names.has(name))
  } finally {
    await client.end()
  }
}

// Reads which migrations a database has run, and whether their files have changed since.

export interface MigrationFacts {
  /** Whether the database has ever been migrated. */
  begun: boolean
  /** Migrations of this build that have not run yet. */
  pending: string[]
  /** Migrations that have run but are not in this build. */
  unknown: string[]
  /** Migrations whose file has changed since it was run. */
  edited: string[]
}

const hashesName = 'migration_files'

/** The files of this build: name → SHA-256. */
async function migrationFiles(): Promise<Map<string, string>> {
  const names = await listMigrations()
  const hashes = names.map(async (name) => {
    const text = await readMigration(name)
    return [name, createHash('sha256').update(text).digest('hex')] as const
  })
  return new Map(await Promise.all(hashes))
}

/** The migrations that the database has run, in order. */
export const listRunMigrations = (database: Database) =>
  rowsFrom(database).column<string>(sql`select name from migrations order by id`)

export const isMigrated = (database: Database): Promise<boolean> =>
  rowsFrom(database).any(sql`select from pg_class where oid = to_regclass('public.migrations')`)

export async function migrationFacts(database: Database): Promise<MigrationFacts> {
  const files = await migrationFiles()
  if (!(await isMigrated(database)))
    return { begun: false, pending: [...files.keys()], unknown: [], edited: [] }
  const ran = await listRunMigrations(database)
  const noted = await readServiceState<Record<string, string>>(database, hashesName).catch(() => undefined)
  return {
    begun: true,
    pending: [...files.keys()].filter((name) => !ran.includes(name)),
    unknown: ran.filter((name) => !files.has(name)),
    edited: ran.filter(
      (name) => noted?.[name] !== undefined && files.has(name) && noted[name] !== files.get(name),
    ),
  }
}

/**
 * Records the text of each migration at the time it ran. Editing a migration file afterwards changes no database that has run it, and two
 * databases of one build would silently differ.
 */
export async function noteMigrations(database: Database): Promise<void> {
  const files = await migrationFiles()
  const noted = (await readServiceState<Record<string, string>>(database, hashesName)) ?? {}
  const ran = await listRunMigrations(database)
  const fresh = ran.filter((name) => noted[name] === undefined && files.has(name))
  if (fresh.length === 0) return
  const added = Object.fromEntries(fresh.map((name) => [name, files.get(name)!]))
  await writeServiceState(database, hashesName, { ...noted, ...added })
}
