/**
 * Restores a dump: schema, rows and final checks in one transaction. Other sessions see the old contents until it commits, and keep them
 * when it fails.
 */
import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { applicationRole } from '../database/application-role.ts'
import { copyFrom } from '../database/table-copy.ts'
import { connectUnlimited, ownTables, type DumpFacts } from './dump.ts'
import { rowsFrom } from '../database/from-row.ts'
import { listMigrations, readMigration } from '../database/migrate.ts'
import { databaseOf, type Database } from '../postgres.ts'

export interface Load {
  facts: DumpFacts
  /** The rows of a table, as COPY wrote them. */
  rowsOf: (table: string) => AsyncIterable<Buffer>
  /** Whether existing contents may be replaced. */
  replace: boolean
  /** The directory of the migrations to run after those of the dump. Default: this build's. */
  migrations?: string
  /** Runs in the transaction after all rows are loaded. An error rolls everything back. */
  finish: (database: Database) => Promise<void>
  /** Called with each table before its rows are read. */
  onTable?: (table: string) => void
}

/** The number of attempts: a session that takes the locks in another order deadlocks with this one, and Postgres ends one of them. */
const attempts = 5
const lockMs = 20_000

/** Throws `configuration_invalid` for a database that is not empty, is not Tenure's, or is older than the dump requires. */
export async function loadDump(url: string, load: Load): Promise<void> {
  await expectKnownMigrations(load.facts)
  for (let attempt = 1; ; attempt++) {
    const client = await connectUnlimited(url, 'tenure restore')
    try {
      await client.query('begin')
      await fill(client, load)
      await client.query('commit')
      await client.query('analyze').catch(() => {})
      return
    } catch (error) {
      const { code } = error as { code?: unknown }
      if (code === '42501')
        throw new DomainError(
          'configuration_invalid',
          `this role may not replace the schema (${(error as Error).message}): name the owner of the database in TENURE_OWNER_DATABASE_URL`,
        )
      if ((code !== '40P01' && code !== '55P03') || attempt === attempts) throw error
    } finally {
      // Without a commit, closing the connection rolls back.
      await client.end().catch(() => {})
    }
    await pause(200 * attempt)
  }
}

async function expectKnownMigrations({ migrations }: DumpFacts): Promise<void> {
  const known = new Set(await listMigrations())
  const unknown = migrations.filter((name) => !known.has(name))
  if (unknown.length > 0)
    throw new DomainError(
      'configuration_invalid',
      `the backup was made by a newer Tenure: this one does not know ${unknown.length === 1 ? 'the migration' : 'the migrations'} ${unknown.join(', ')}`,
    )
}

async function fill(client: pg.Client, load: Load): Promise<void> {
  const { facts, rowsOf, replace, finish, onTable, migrations } = load
  const database = databaseOf(client)
  await client.query(`set local lock_timeout = ${lockMs}`)
  const preserved = await clear(client, replace)
  // As the migrator creates it, and before the migrations, one of which grants write access to it.
  await client.query(
    'create table migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null)',
  )
  for (const name of facts.migrations) await client.query(await readMigration(name))
  for (const day of facts.days)
    await database.query(sql`select make_prediction_day(to_date(${day}, 'YYYYMMDD'))`)
  await handOver(client)
  const triggers = await quietTriggers(database)
  for (const { table, trigger } of triggers)
    await client.query(`alter table ${quote(table)} disable trigger ${quote(trigger)}`)
  // The dump contains what the migrations have inserted.
  const order = await loadOrder(database, facts)
  await client.query(`delete from routing_epochs`)
  for (const name of order) {
    const { columns } = facts.tables.find((each) => each.name === name)!
    onTable?.(name)
    await copyFrom(
      client,
      `copy ${quote(name)} (${columns.map(quote).join(', ')}) from stdin`,
      rowsOf(name),
    ).catch((error: Error) => {
      throw new Error(`the rows of ${name} cannot be put back: ${error.message}`, { cause: error })
    })
  }
  for (const { table, trigger } of triggers)
    await client.query(`alter table ${quote(table)} enable trigger ${quote(trigger)}`)
  await raiseSequences(client, database)
  await runLaterMigrations(client, facts, migrations)
  await carryOver(database, preserved)
  await finish(database)
}

/** Runs the later migrations of this build on the loaded rows in the same transaction, so that no session sees the old schema. */
async function runLaterMigrations(
  client: pg.Client,
  { migrations }: DumpFacts,
  directory?: string,
): Promise<void> {
  for (const name of await listMigrations(directory)) {
    if (migrations.includes(name)) continue
    await client.query(await readMigration(name, directory)).catch((error: Error) => {
      error.message = `${name}: ${error.message}`
      throw error
    })
    await client.query('insert into migrations (name, run_on) values ($1, now())', [name])
  }
}

const quote = (name: string): string => pg.escapeIdentifier(name)

interface PreservedRows {
  keys: { id: string; revoked_at: Date }[]
  sessions: { id: string; until: Date }[]
  starts: { id: string; run_id: string }[]
}

/** Empties the schema, or checks that it is empty. Returns the rows that must survive the restore. */
async function clear(client: pg.Client, replace: boolean): Promise<PreservedRows> {
  const database = databaseOf(client)
  const own = await ownTables()
  const found = await database.query<{ name: string; part: boolean }>(sql`
    select relname::text as name, relispartition as part from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') order by 1`)
  const foreign = found.filter(({ name, part }) => !own.has(name) && !part).map(({ name }) => name)
  if (foreign.length > 0)
    throw new DomainError(
      'configuration_invalid',
      `the database holds tables that are not Tenure's (${foreign.slice(0, 5).join(', ')}); restore into one of its own`,
    )
  const there = new Set(found.map(({ name }) => name))
  const filled: string[] = []
  for (const name of ['models', 'versions', 'releases', 'audit', 'predictions']) {
    if (!there.has(name)) continue
    const { rowCount } = await client.query(`select from ${quote(name)} limit 1`)
    if (rowCount === 1) filled.push(name)
  }
  if (filled.length > 0 && !replace)
    throw new DomainError(
      'configuration_invalid',
      `the database is not empty (${filled.join(', ')} have rows); --replace replaces all of it with the backup`,
    )
  const keys = there.has('api_keys')
    ? await database.query<PreservedRows['keys'][number]>(
        sql`select id, revoked_at from api_keys where revoked_at is not null`,
      )
    : []
  const sessions = there.has('revoked_sessions')
    ? await database.query<PreservedRows['sessions'][number]>(sql`select id, until from revoked_sessions`)
    : []
  // The others are refused by their time.
  const starts = there.has('commands')
    ? await database.query<PreservedRows['starts'][number]>(sql`
        select id, run_id from commands where run_id is not null and until > clock_timestamp()`)
    : []
  await client.query(
    'drop schema public cascade; create schema public; grant usage on schema public to public',
  )
  return { keys, sessions, starts }
}

/** Carries over keys revoked, sessions ended and starts used after the backup. */
async function carryOver(database: Database, { keys, sessions, starts }: PreservedRows): Promise<void> {
  await database.query(sql`
    update api_keys set revoked_at = kept.revoked_at
    from jsonb_to_recordset(${JSON.stringify(keys)}::jsonb) as kept (id text, revoked_at timestamptz)
    where api_keys.id = kept.id and api_keys.revoked_at is null`)
  if (sessions.length > 0)
    await database.query(sql`
      insert into revoked_sessions (id, until)
      select id, until from jsonb_to_recordset(${JSON.stringify(sessions)}::jsonb) as kept (id text, until timestamptz)
      on conflict do nothing`)
  await database.query(sql`
    update commands set run_id = kept.run_id
    from jsonb_to_recordset(${JSON.stringify(starts)}::jsonb) as kept (id text, run_id text)
    where commands.id = kept.id`)
}

/** The application role owns the partitions, because it creates and drops them. */
async function handOver(client: pg.Client): Promise<void> {
  const { rowCount } = await client.query('select from pg_roles where rolname = $1', [applicationRole])
  if (rowCount === 0) return
  const { rows } = await client.query<{ name: string }>(`
    select oid::regclass::text as name from pg_class
    where oid in (select inhrelid from pg_inherits where inhparent = 'predictions'::regclass)`)
  await client.query('savepoint handing_over')
  try {
    for (const { name } of rows) await client.query(`alter table ${name} owner to ${applicationRole}`)
  } catch (error) {
    if ((error as { code?: unknown }).code !== '42501') throw error
    await client.query('rollback to savepoint handing_over')
  }
}

/** Disables triggers: the dump contains their rows, and notifications would be sent again. */
const quietTriggers = (database: Database) =>
  database.query<{ table: string; trigger: string }>(sql`
    select relname::text as table, tgname::text as trigger from pg_trigger join pg_class on pg_class.oid = tgrelid
    where relnamespace = 'public'::regnamespace and not tgisinternal and tgenabled = 'O' and not relispartition`)

/** Orders tables so that referenced tables come first. Throws when the schema lacks a table of the dump. */
async function loadOrder(database: Database, { tables }: DumpFacts): Promise<string[]> {
  const links = await database.query<{ from: string; to: string }>(sql`
    select conrelid::regclass::text as from, confrelid::regclass::text as to from pg_constraint
    where contype = 'f' and conrelid <> confrelid and connamespace = 'public'::regnamespace`)
  const there = await rowsFrom(database).column<string>(sql`
    select relname::text as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')`)
  const left = new Set(tables.map(({ name }) => name))
  for (const name of left)
    if (!there.includes(name))
      throw new DomainError('configuration_invalid', `the backup has an unknown table ${name}`)
  const order: string[] = []
  while (left.size > 0) {
    const free = [...left].filter((name) => !links.some(({ from, to }) => from === name && left.has(to)))
    if (free.length === 0) throw new Error(`${[...left].join(', ')} refer to each other in a circle`)
    for (const name of free) left.delete(name)
    order.push(...free)
  }
  return order
}

/**
 * Advances identity sequences beyond the loaded rows. Postgres may resolve the sequence before it evaluates the schema, so each name has
 * one.
 */
async function raiseSequences(client: pg.Client, database: Database): Promise<void> {
  const columns = await database.query<{ table: string; column: string; sequence: string }>(sql`
    select table_name::text as table, column_name::text as column, sequence
    from information_schema.columns,
      pg_get_serial_sequence(format('%I.%I', table_schema, table_name), column_name) as sequence
    where table_schema = 'public' and sequence is not null`)
  for (const { table, column, sequence } of columns)
    await client.query(
      `select setval('${sequence}', greatest((select max(${quote(column)}) from ${quote(table)}), 1),
        exists (select from ${quote(table)}))`,
    )
}
