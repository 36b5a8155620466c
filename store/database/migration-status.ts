/** Reads which migrations a database has run, and whether their files have changed since. */
import { createHash } from 'node:crypto'
import sql from 'sql-template-tag'
import { listMigrations, readMigration } from './migrate.ts'
import { rowsFrom } from './from-row.ts'
import type { Database } from '../postgres.ts'
import { readServiceState, writeServiceState } from './key-value.ts'

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
