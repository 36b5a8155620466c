/**
 * Dumps all tables of Tenure at one moment, through COPY in one snapshot. It works with the application role and needs no pg_dump of the
 * server's version, which embedded installations lack.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import { DomainError, isError } from '../../domain/errors.ts'
import { findLinks, type AuditHead } from '../audit/audit-log.ts'
import { withIsoDates } from '../database/connection-options.ts'
import { copyOut } from '../database/table-copy.ts'
import { rowsFrom } from '../database/from-row.ts'
import { listMigrations, readMigration, isMigrated, listRunMigrations } from '../database/migrate.ts'
import { databaseOf, rethrow, type Database } from '../postgres.ts'

export interface DumpedTable {
  name: string
  columns: string[]
}

/** The description of a dump. */
export interface DumpFacts {
  /** The names of the migrations that had run, in order. */
  migrations: string[]
  tables: DumpedTable[]
  /** Days of the prediction log that have a partition, as YYYYMMDD. */
  days: string[]
  epoch: number
  /** The last row of the audit log; absent for an empty log. */
  auditHead?: AuditHead
  /** On the database's clock. */
  takenAt: string
  server: string
}

/** The files that rows reference, by area of the artifact store. */
export interface References {
  /** Digests of manifests. The manifest of a version is required to exist. */
  manifests: { digest: string; version?: string }[]
  snapshots: string[]
  /** The lists of data subjects of snapshots. Without its list, a snapshot counts as one that may hold any erased subject. */
  subjectLists: string[]
}

export interface Dump {
  facts: DumpFacts
  references: References
  /** Streams the rows of one table as COPY writes them. Returns the number of rows. */
  copy(table: DumpedTable, take: (chunk: Buffer) => Promise<void>): Promise<number>
  close(): Promise<void>
}

/** Tables about running processes: the replicas and everything that references them. New processes write them again. */
export async function findTransientTables(database: Database): Promise<Set<string>> {
  const referring = await rowsFrom(database).column<string>(sql`
    select conrelid::regclass::text as name from pg_constraint
    where contype = 'f' and confrelid = to_regclass('public.replicas')`)
  return new Set(['replicas', ...referring])
}

/** Opens a connection without a statement timeout, because a dump may take longer than any statement of the system. */
export async function connectUnlimited(url: string, name: string): Promise<pg.Client> {
  const client = new pg.Client({
    ...withIsoDates(url),
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    application_name: name,
  })
  client.on('error', () => {})
  await client.connect().catch(refuse)
  return client
}

/** An outage is temporary; any other failure, such as a wrong password or name, needs an operator. */
function refuse(error: unknown): never {
  try {
    return rethrow(error)
  } catch (thrown) {
    if (isError(thrown)) throw thrown
    throw new DomainError(
      'configuration_invalid',
      `the database cannot be used: ${(error as Error).message}; \`tenure doctor\` says what to do`,
    )
  }
}

/** The tables and views that the migrations create, so that foreign ones in the same schema are left out. */
export async function ownTables(): Promise<Set<string>> {
  const texts = await Promise.all((await listMigrations()).map((name) => readMigration(name)))
  const names = texts.flatMap((text) =>
    [...text.matchAll(/^create (?:table (?:if not exists )?|view )(\w+)/gm)].map(([, name = '']) => name),
  )
  return new Set([...names, 'migrations'])
}

export async function openDump(url: string): Promise<Dump> {
  const client = await connectUnlimited(url, 'tenure backup')
  try {
    const database = databaseOf(client)
    await client.query('begin transaction isolation level repeatable read read only')
    const facts = await factsOf(database)
    return {
      facts,
      references: await findReferences(database),
      copy: ({ name, columns }, take) =>
        copyOut(
          client,
          `copy (select ${columns.map((each) => pg.escapeIdentifier(each)).join(', ')} from ${pg.escapeIdentifier(name)}) to stdout`,
          take,
        ),
      close: () => client.end(),
    }
  } catch (error) {
    await client.end().catch(() => {})
    throw error
  }
}

export async function countRows(url: string, tables: readonly DumpedTable[]): Promise<number[]> {
  const client = await connectUnlimited(url, 'tenure backup')
  try {
    const counts: number[] = []
    for (const { name } of tables) {
      const { rows } = await client.query<{ count: number }>(
        `select count(*)::float8 as count from ${pg.escapeIdentifier(name)}`,
      )
      counts.push(rows[0]!.count)
    }
    return counts
  } finally {
    await client.end()
  }
}

async function factsOf(database: Database): Promise<DumpFacts> {
  if (!(await isMigrated(database)))
    throw new DomainError(
      'configuration_invalid',
      'this database has no table of Tenure, so there is nothing to back up',
    )
  const own = await ownTables()
  const transientTables = await findTransientTables(database)
  const tables = await database.query<DumpedTable>(sql`
    select relname::text as name, array_agg(attname::text order by attnum) as columns
    from pg_class join pg_attribute on attrelid = pg_class.oid
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
      and attnum > 0 and not attisdropped and attgenerated = ''
    group by relname order by relname`)
  const days = await rowsFrom(database).column<string>(sql`
    select right(relname, 8) as day from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'predictions'::regclass and relname ~ '^predictions_\\d{8}$' order by 1`)
  const found = await rowsFrom(database).find<Pick<DumpFacts, 'epoch' | 'takenAt' | 'server'>>(sql`
    select (select max(epoch) from routing_epochs)::float8 as epoch, clock_timestamp() as taken_at,
      current_setting('server_version') as server`)
  const { newest } = await findLinks(database, 0)
  return {
    ...found!,
    migrations: await listRunMigrations(database),
    tables: tables.filter(({ name }) => own.has(name) && !transientTables.has(name)),
    days,
    auditHead: newest,
  }
}

/** The files that rows reference now. */
export async function findReferences(database: Database): Promise<References> {
  const manifests = await rowsFrom(database).list<References['manifests'][number]>(sql`
    select artifact_digest as digest, min(version) as version from versions
    where artifact_digest not in (select digest from deleted_artifacts) group by 1
    union
    select digest, null from (
      select artifact_digest as digest from evaluations
      union select artifact_digest from trainings where artifact_digest is not null) as others
    where digest not in (select artifact_digest from versions union all select digest from deleted_artifacts)
    order by 1`)
  const snapshots = await rowsFrom(database).column<string>(sql`
    select digest from snapshots where dropped_at is null
    union select input_digest from batches where status = 'running' and input_digest is not null order by 1`)
  const subjectLists = await rowsFrom(database).column<string>(sql`
    select distinct source ->> 'subjects' as list from snapshots
    where dropped_at is null and source ->> 'subjects' is not null order by 1`)
  return { manifests, snapshots, subjectLists }
}
