/** Runs the pending migrations of this build on a copy of a database, and deletes the copy. Only reads the database itself. */
import { randomBytes } from 'node:crypto'
import { PassThrough } from 'node:stream'
import { once } from 'node:events'
import pg from 'pg'
import { reasonOf } from '../../domain/errors.ts'
import { listMigrations, migrationsDir } from '../database/migrate.ts'
import { connectUnlimited, openDump, type Dump, type DumpedTable } from './dump.ts'
import { loadDump } from './load.ts'

export interface DryMigration {
  pending: string[]
  /** Migrations that ran in this database but are not in this build. */
  unknown: string[]
  /** Why the pending migrations fail, or why no copy could be made. */
  problem?: string
  rows: number
  seconds: number
}

/** `directory`: the migrations of the build to check. */
export async function dryMigrate(url: string, directory = migrationsDir): Promise<DryMigration> {
  const startedMs = performance.now()
  const dump = await openDump(url)
  try {
    const expected = await listMigrations(directory)
    const ran = new Set(dump.facts.migrations)
    const pending = expected.filter((name) => !ran.has(name))
    const unknown = dump.facts.migrations.filter((name) => !expected.includes(name))
    const found = { pending, unknown, rows: 0, seconds: 0 }
    if (pending.length === 0 || unknown.length > 0) return found
    const copied = await migrateCopy(url, dump, directory)
    return { ...found, ...copied, seconds: (performance.now() - startedMs) / 1_000 }
  } finally {
    await dump.close()
  }
}

async function migrateCopy(
  url: string,
  dump: Dump,
  directory: string,
): Promise<Pick<DryMigration, 'problem' | 'rows'>> {
  const name = `tenure_upgrade_check_${randomBytes(4).toString('hex')}`
  const admin = await connectUnlimited(url, 'tenure upgrade')
  let rows = 0
  try {
    await admin.query(`create database ${pg.escapeIdentifier(name)}`)
  } catch (error) {
    await admin.end()
    return { rows, problem: `no copy could be made: ${reasonOf(error)}` }
  }
  const copy = new URL(url)
  copy.pathname = `/${name}`
  try {
    await loadDump(copy.href, {
      facts: dump.facts,
      rowsOf: (table) => rowsOf(dump, table, (count) => (rows += count)),
      replace: false,
      migrations: directory,
      finish: async () => {},
    })
    return { rows }
  } catch (error) {
    return { rows, problem: reasonOf(error) }
  } finally {
    await admin.query(`drop database ${pg.escapeIdentifier(name)} with (force)`)
    await admin.end()
  }
}

/** The rows of a table, streamed. */
async function* rowsOf(dump: Dump, name: string, counted: (rows: number) => void): AsyncGenerator<Buffer> {
  const table = dump.facts.tables.find((each) => each.name === name) as DumpedTable
  const stream = new PassThrough()
  const copied = dump
    .copy(table, async (chunk) => {
      if (!stream.write(chunk)) await once(stream, 'drain')
    })
    .then(
      (rows) => {
        counted(rows)
        stream.end()
      },
      (error: Error) => void stream.destroy(error),
    )
  yield* stream as AsyncIterable<Buffer>
  await copied
}
