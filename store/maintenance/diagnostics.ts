/** Reads the facts that `tenure doctor` checks in a database. Each query runs separately, so that one failure hides no other result. */
import pg from 'pg'
import sql from 'sql-template-tag'
import { findRoleWeaknesses } from '../database/application-role.ts'
import { readNow } from '../database/clock.ts'
import { rowsFrom } from '../database/from-row.ts'
import { findBackupState, type FoundBackups } from './backup-state.ts'
import { ownTables } from './dump.ts'
import { migrationFacts, type MigrationFacts } from '../database/migrate.ts'
import { databaseOf, type Database } from '../postgres.ts'
import { silentForMs } from '../serving/observed-leases.ts'
import { tlsIssueOfPostgres } from '../tls/certificate.ts'

export interface ServerFacts {
  role: string
  database: string
  /** As in `server_version_num`: 180004 is 18.4. */
  versionNumber: number
  /** Whether the role may create tables, because partitions are created while the system runs. */
  mayCreate: boolean
  /** Tables in the schema that no migration of Tenure created. */
  foreignTables: string[]
  /** Whether it refuses writes: a standby, or a server that is set so. */
  isReadOnly: boolean
  /**
   * The database's clock minus this machine's, in milliseconds, and the duration of the query. The offset may be wrong by half of that
   * duration.
   */
  clockOffsetMs: number
  roundTripMs: number
  mostConnections: number
  connections: number
}

export interface ReplicaFacts {
  id: string
  host: string
  url: string
  /** Models whose newest route the replica does not follow, each with the reason. */
  behind: string[]
  epochs: number[]
  /** How long ago its lease has ended, although it was not stopped; absent while it is alive. */
  silentMs?: number
}

export interface ChampionFacts {
  model: string
  version: string
  artifactDigest: string
  signature?: Buffer
}

/** An open critical alert. */
export interface CriticalAlert {
  kind: string
  model?: string
}

export interface Diagnosis {
  server: ServerFacts
  migrations: MigrationFacts
  /** Absent when the schema, or a table that the query needs, does not exist. */
  replicas?: ReplicaFacts[]
  champions?: ChampionFacts[]
  /** Absent when no backups are scheduled. */
  backups?: FoundBackups
  versions?: number
  /** The open critical alerts without an acknowledgement. */
  alerts?: CriticalAlert[]
  roleWeaknesses?: string[]
}

export interface Unreached {
  /** The SQLSTATE of Postgres, or the error code of the system. */
  code: string
  message: string
}

const askMs = 5_000

export async function diagnose(url: string, name: string): Promise<Diagnosis | Unreached> {
  let client: pg.Client
  try {
    client = new pg.Client({
      connectionString: url,
      connectionTimeoutMillis: askMs,
      query_timeout: askMs,
      statement_timeout: askMs,
      application_name: name,
    })
    client.on('error', () => {})
    await client.connect()
  } catch (error) {
    return unreached(error)
  }
  try {
    const database = databaseOf(client)
    const server = await serverFacts(database)
    const migrations = await migrationFacts(database)
    const ask = <T>(work: Promise<T>): Promise<T | undefined> => work.catch(() => undefined)
    const replicas = await ask(replicaFacts(database))
    const champions = await ask(championFacts(database))
    const versions = await ask(
      rowsFrom(database).value<number>(sql`select count(*)::int as count from versions`),
    )
    const roleWeaknesses = await ask(findRoleWeaknesses(database))
    const backups = await ask(findBackupState(database))
    const alerts = await ask(criticalAlerts(database))
    return { server, migrations, replicas, champions, versions, roleWeaknesses, backups, alerts }
  } catch (error) {
    return unreached(error)
  } finally {
    await client.end().catch(() => {})
  }
}

const unreached = (error: unknown): Unreached => {
  const tls = tlsIssueOfPostgres(error)
  if (tls !== undefined) return { code: 'TLS', message: tls }
  return { code: String((error as { code?: unknown }).code ?? ''), message: (error as Error).message }
}

async function serverFacts(database: Database): Promise<ServerFacts> {
  const sentMs = Date.now()
  const began = performance.now()
  const databaseMs = await readNow(database)
  const roundTripMs = performance.now() - began
  const [row] = await database.query<
    Omit<ServerFacts, 'foreignTables' | 'clockOffsetMs' | 'roundTripMs'>
  >(sql`
    select current_user as role, current_database() as database,
      current_setting('server_version_num')::int as "versionNumber",
      coalesce(has_schema_privilege(to_regnamespace('public'), 'create'), has_database_privilege(current_database(), 'create'))
        as "mayCreate",
      current_setting('transaction_read_only')::boolean as "isReadOnly",
      current_setting('max_connections')::int as "mostConnections",
      (select count(*)::int from pg_stat_activity where backend_type = 'client backend') as connections`)
  const own = await ownTables()
  const tables = await rowsFrom(database).column<string>(sql`
    select relname::text as name from pg_class
    where relnamespace = to_regnamespace('public') and relkind in ('r', 'p') and not relispartition order by 1`)
  return {
    ...row!,
    foreignTables: tables.filter((name) => !own.has(name)),
    clockOffsetMs: databaseMs - (sentMs + roundTripMs / 2),
    roundTripMs,
  }
}

const replicaFacts = (database: Database) =>
  rowsFrom(database).list<ReplicaFacts>(sql`
    select replicas.id, host, url,
      coalesce(array_agg(routing.model || ': ' || coalesce(routing_acknowledgements.problem,
        'at ' || coalesce(routing_acknowledgements.epoch, 0) || '/' || coalesce(routing_acknowledgements.generation, 0)
          || ', the newest is ' || routing.epoch || '/' || routing.generation) order by routing.model)
        filter (where routing.model is not null and (routing_acknowledgements.problem is not null
          or (coalesce(routing_acknowledgements.epoch, 0), coalesce(routing_acknowledgements.generation, 0)) < (routing.epoch, routing.generation))),
        '{}') as behind,
      coalesce(array_agg(distinct routing_acknowledgements.epoch::float8) filter (where routing_acknowledgements.epoch is not null), '{}')
        as epochs,
      case when lease_until <= clock_timestamp() then extract(epoch from clock_timestamp() - lease_until)::float8 * 1000 end as silent_ms
    from replicas cross join (select model, epoch, generation from routing union all select null, null, null) as routing
      left join routing_acknowledgements on replica_id = replicas.id and routing_acknowledgements.model = routing.model
    where lease_until > clock_timestamp()
      or (lease_ms > 0 and lease_until > clock_timestamp() - ${silentForMs}::float8 * interval '1 millisecond')
    group by replicas.id, host, url, lease_until order by replicas.id`)

const championFacts = (database: Database) =>
  rowsFrom(database).list<ChampionFacts>(sql`
    select champions.model, version, artifact_digest, signature
    from champions join versions using (version) order by 1`)

const criticalAlerts = (database: Database) =>
  rowsFrom(database).list<CriticalAlert>(sql`
    select distinct kind, model from alerts
    where severity = 'critical' and resolved_at is null and acknowledged_at is null order by kind, model`)
