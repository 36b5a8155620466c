/** Postgres: whether it answers, to whom, and whether what is in it is of this build. */
import type { Diagnosis, ServerFacts, Unreached } from '../../store/maintenance/diagnostics.ts'
import type { MigrationFacts } from '../../store/database/migration-status.ts'
import { broken, ok, warning, type Finding } from './finding.ts'
import { findingsOfMigrations } from './migrations.ts'
import { findingsOfReplicas } from './replicas.ts'

/** The oldest that knows everything that the migrations say. */
const oldest = 150_000
const skewMs = { much: 1_000, tooMuch: 60_000 }

/** Everything that one look at the database shows. `url` is said without its password. */
export function findingsOfDatabase(
  url: string,
  diagnosis: Diagnosis | Unreached,
  { running }: { running: boolean },
): Finding[] {
  if ('code' in diagnosis) return [findingOfUnreached(url, diagnosis)]
  const { server, migrations, replicas, auditWeakness } = diagnosis
  return [
    ...findingsOfServer(url, server, migrations),
    ...findingsOfMigrations(migrations),
    findingOfClock(server),
    ...(replicas === undefined ? [] : findingsOfReplicas(replicas, running)),
    ...(auditWeakness === undefined
      ? []
      : [warning('audit', auditWeakness, 'Do as said, or live with it knowingly.')]),
  ]
}

/** An address as it may be shown. */
export function withoutPassword(url: string): string {
  try {
    const shown = new URL(url)
    if (shown.password !== '') shown.password = '…'
    return decodeURI(shown.toString())
  } catch {
    return 'an address that does not parse'
  }
}

export function findingOfUnreached(url: string, { code, message }: Unreached): Finding {
  const shown = withoutPassword(url)
  const { host, role, database } = partsOf(url)
  const say = (found: string, next: string) => broken('database', `${shown}: ${found}`, next)
  switch (code) {
    case 'ECONNREFUSED':
      return say(
        `nothing listens at ${host}`,
        'Start Postgres there, correct DATABASE_URL, or leave it out: `tenure up` then starts a Postgres of its own.',
      )
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return say(`the host of ${host} is not known`, 'Correct the host in DATABASE_URL.')
    case '28P01':
      return say(`the password of ${role} is wrong`, 'Correct the password in DATABASE_URL.')
    case '28000':
      return say(
        `${role} may not come in: ${message}`,
        'Make the role, or let it in from this machine in pg_hba.conf.',
      )
    case '3D000':
      return say(`there is no database ${database}`, `Correct DATABASE_URL, or make it: createdb ${database}`)
    case '42501':
      return say(
        `${role} may not look: ${message}`,
        `Give ${role} the right to connect and to use the schema public.`,
      )
    case '53300':
      return say(
        'it has no connection left',
        'Raise max_connections, or end what holds them: select * from pg_stat_activity.',
      )
    case '57P03':
      return say(`it is not ready yet: ${message}`, 'Wait until it has started, then look again.')
    default:
      return say(
        `it did not answer as Postgres does (${[code, message].filter(Boolean).join(': ')})`,
        'Check host and port in DATABASE_URL, and whether a firewall stands between.',
      )
  }
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
  const { versionNumber, role, database, mayCreate, foreignTables, connections, mostConnections } = server
  const version = `${Math.floor(versionNumber / 10_000)}.${versionNumber % 10_000}`
  const findings: Finding[] = []
  if (versionNumber < oldest)
    findings.push(
      broken(
        'database',
        `Postgres ${version} is too old`,
        `Use Postgres ${oldest / 10_000} or newer; 18 is what is tried.`,
      ),
    )
  else findings.push(ok('database', `${withoutPassword(url)} answers: Postgres ${version}, as ${role}`))
  if (foreignTables.length > 0 && !migrations.begun)
    findings.push(
      broken(
        'database',
        `${database} is not Tenure's: it has ${foreignTables.slice(0, 3).join(', ')}${foreignTables.length > 3 ? ', …' : ''}`,
        'Correct the database in DATABASE_URL, or make one of its own.',
      ),
    )
  if (!mayCreate)
    findings.push(
      broken(
        'database',
        `${role} may not make tables in ${database}, and days of the log are made while it runs`,
        `As the owner: grant usage, create on schema public to ${role}`,
      ),
    )
  if (connections > mostConnections * 0.8)
    findings.push(
      warning(
        'database',
        `${connections} of ${mostConnections} connections are taken`,
        'Raise max_connections, or start fewer processes.',
      ),
    )
  return findings
}

export function findingOfClock({
  clockOffsetMs,
  roundTripMs,
}: Pick<ServerFacts, 'clockOffsetMs' | 'roundTripMs'>): Finding {
  const off = Math.max(0, Math.abs(clockOffsetMs) - roundTripMs / 2)
  const found = `the clock of Postgres is ${Math.round(Math.abs(clockOffsetMs))} ms ${clockOffsetMs < 0 ? 'behind' : 'ahead of'} this machine's`
  const next = 'Let both follow a time server (chrony or systemd-timesyncd).'
  if (off > skewMs.tooMuch) return broken('clock', found, next)
  return off > skewMs.much ? warning('clock', found, next) : ok('clock', found)
}
