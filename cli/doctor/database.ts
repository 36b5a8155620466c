/** Checks Postgres: connection, role, version, clock, and the schema of this build. */
import type { CriticalAlert, Diagnosis, ServerFacts, Unreached } from '../../store/maintenance/diagnostics.ts'
import type { MigrationFacts } from '../../store/database/migrate.ts'
import { meaningOfOutage } from '../../store/outage.ts'
import { broken, ok, warning, type Finding } from './finding.ts'
import { findingsOfReplicas } from './replicas.ts'

/** The oldest version that supports every statement of the migrations. */
const minVersion = 150_000
const skewMs = { much: 1_000, tooMuch: 60_000 }

/** Returns all findings of one connection to the database, without the password of `url`. */
export function findingsOfDatabase(
  url: string,
  diagnosis: Diagnosis | Unreached,
  { running }: { running: boolean },
): Finding[] {
  if ('code' in diagnosis) return [findingOfUnreached(url, diagnosis)]
  const { server, migrations, replicas, alerts, roleWeaknesses = [] } = diagnosis
  return [
    ...findingsOfServer(url, server, migrations),
    ...findingsOfMigrations(migrations),
    findingOfClock(server),
    // Where replicas cannot record that they are alive, their rows do not tell.
    ...(replicas === undefined || server.isReadOnly ? [] : findingsOfReplicas(replicas, running)),
    ...(alerts === undefined ? [] : [findingOfAlerts(alerts)]),
    ...roleWeaknesses.map((each) =>
      warning('roles', each, 'Follow the advice, or accept the weaker protection.'),
    ),
  ]
}

/** Names the critical alerts that wait for an acknowledgement, such as that of a broken audit log. */
export function findingOfAlerts(alerts: readonly CriticalAlert[]): Finding {
  if (alerts.length === 0) return ok('alerts', 'no critical alert is open')
  const names = alerts.map(({ kind, model }) => (model === undefined ? kind : `${kind} (${model})`))
  return warning(
    'alerts',
    `critical alerts are open: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}`,
    'Read them with `tenure alerts`, then run `tenure alerts acknowledge <id>`.',
  )
}

/** Compares the schema with that of this build. */
function findingsOfMigrations({ begun, pending, unknown, edited }: MigrationFacts): Finding[] {
  if (!begun) return [warning('migrations', 'the database is empty', 'Run `tenure up` to create the schema.')]
  const faults = [
    {
      names: unknown,
      found: `a newer Tenure has run ${unknown.join(', ')}, unknown to this build`,
      next: 'Update this checkout, or restore a backup from before that update.',
    },
    {
      names: pending,
      found: `pending migrations: ${pending.join(', ')}`,
      next: 'Restart with `tenure up`, or start a control worker; both migrate first.',
    },
    {
      names: edited,
      found: `edited after they ran: ${edited.join(', ')}`,
      next: 'Restore the files (git checkout -- migrations) and add a new migration.',
    },
  ].filter(({ names }) => names.length > 0)
  if (faults.length === 0) return [ok('migrations', 'up to date')]
  return faults.map(({ found, next }) => broken('migrations', found, next))
}

export function withoutPassword(url: string): string {
  try {
    const shown = new URL(url)
    if (shown.password !== '') shown.password = '…'
    return decodeURI(shown.toString())
  } catch {
    return 'an invalid address'
  }
}

export function findingOfUnreached(url: string, { code, message }: Unreached): Finding {
  const { host, role, database } = partsOf(url)
  const unknownHost = [`unknown host ${host}`, 'Correct the host in DATABASE_URL.'] as const
  const known: Readonly<Record<string, readonly [found: string, next: string]>> = {
    ECONNREFUSED: [
      `nothing listens at ${host}`,
      'Start Postgres there, correct DATABASE_URL, or unset it so that `tenure up` starts its own.',
    ],
    ENOTFOUND: unknownHost,
    EAI_AGAIN: unknownHost,
    TLS: [
      `Postgres at ${host} is not reached by TLS: ${message}`,
      'Correct DATABASE_URL or its certificate.',
    ],
    '28P01': [`the password of ${role} is wrong`, 'Correct the password in DATABASE_URL.'],
    '28000': [`${role} may not connect: ${message}`, 'Create the role, or allow it in pg_hba.conf.'],
    '3D000': [`there is no database ${database}`, `Correct DATABASE_URL, or run: createdb ${database}`],
    '42501': [
      `${role} lacks a privilege: ${message}`,
      `Grant ${role} connect on the database and usage on the schema public.`,
    ],
  }
  const failure = [code, message].filter(Boolean).join(': ')
  const { what, remedy } = meaningOfOutage(Object.assign(new Error(message), { code }))
  const [found, next] =
    known[code] ??
    (what === 'did not answer'
      ? [`no valid response from Postgres (${failure})`, 'Check host, port and firewall for DATABASE_URL.']
      : [`Postgres ${what} (${failure})`, remedy])
  return broken('database', `${withoutPassword(url)}: ${found}`, next)
}

function partsOf(url: string): { host: string; role: string; database: string } {
  try {
    const { host, username, pathname } = new URL(url)
    return { host, role: username || 'the role', database: pathname.slice(1) || username }
  } catch {
    return { host: '?', role: 'the role', database: '?' }
  }
}

export function findingsOfServer(url: string, server: ServerFacts, migrations: MigrationFacts): Finding[] {
  const { versionNumber, role, database, mayCreate, foreignTables, isReadOnly } = server
  const { connections, mostConnections } = server
  const version = `${Math.floor(versionNumber / 10_000)}.${versionNumber % 10_000}`
  const findings = [
    versionNumber < minVersion
      ? broken(
          'database',
          `Postgres ${version} is too old`,
          `Use Postgres ${minVersion / 10_000} or newer; 18 is tested.`,
        )
      : ok('database', `${withoutPassword(url)} responds: Postgres ${version}, as ${role}`),
    foreignTables.length > 0 &&
      !migrations.begun &&
      broken(
        'database',
        `${database} holds tables of another application: ${foreignTables.slice(0, 3).join(', ')}${foreignTables.length > 3 ? ', …' : ''}`,
        'Correct the database in DATABASE_URL, or create one for Tenure.',
      ),
    !mayCreate &&
      broken(
        'database',
        `${role} may not create tables in ${database}, but log partitions are created at run time`,
        `Run as the owner: grant usage, create on schema public to ${role}`,
      ),
    isReadOnly &&
      broken(
        'database',
        'Postgres is read-only: predictions continue from memory, and commands, outcomes and retrainings wait',
        'Let DATABASE_URL name the primary (select pg_is_in_recovery()), or end the read-only mode (show default_transaction_read_only), which a service may set when its disk is nearly full.',
      ),
    connections > mostConnections * 0.8 &&
      warning(
        'database',
        `${connections} of ${mostConnections} connections are in use`,
        'Raise max_connections, or start fewer processes.',
      ),
  ]
  return findings.filter((each) => each !== false)
}

export function findingOfClock({
  clockOffsetMs,
  roundTripMs,
}: Pick<ServerFacts, 'clockOffsetMs' | 'roundTripMs'>): Finding {
  const off = Math.max(0, Math.abs(clockOffsetMs) - roundTripMs / 2)
  const found = `the clock of Postgres is ${Math.round(Math.abs(clockOffsetMs))} ms ${clockOffsetMs < 0 ? 'behind' : 'ahead of'} the clock of this machine`
  const next = 'Synchronise both clocks (chrony or systemd-timesyncd).'
  if (off > skewMs.tooMuch) return broken('clock', found, next)
  return off > skewMs.much ? warning('clock', found, next) : ok('clock', found)
}
