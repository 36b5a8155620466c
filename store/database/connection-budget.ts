/** Checks at start-up that `max_connections` suffices for every process, because exhaustion otherwise shows only under load. */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Database } from '../postgres.ts'

/** The name of each kind of process in messages. */
const kinds = {
  api: 'API processes',
  control: 'control workers',
  train: 'training workers',
  commands: 'commands',
} as const

export type ProcessKind = keyof typeof kinds

/** The maximum pool size of one process of a kind. */
export const poolSizes: Readonly<Record<ProcessKind, number>> = { api: 8, control: 12, train: 4, commands: 6 }

/** The maximum sizes of the pools of a control worker for statements that take long. */
export const slowPoolSizes = { monitor: 4, erase: 1 } as const

/** Connections outside the pool: listeners for routes, keys, alerts and the audit, and those for statements that take long. */
const beside: Readonly<Record<ProcessKind, number>> = {
  api: 3,
  control: 2 + slowPoolSizes.monitor + slowPoolSizes.erase,
  train: 0,
  commands: 0,
}

export const maxConnectionsOf = (kind: ProcessKind): number => poolSizes[kind] + beside[kind]

/** The rest is for users, backups and connections that are still closing. */
const maxShare = 0.8

export type Processes = Readonly<Record<ProcessKind, number>>

/** Throws `configuration_invalid` when all processes together may open more than four fifths of the allowed connections. */
export async function checkConnectionBudget(database: Database, processes: Processes): Promise<void> {
  const [row] = await database.query<{ most: number }>(
    sql`select current_setting('max_connections')::integer as most`,
  )
  const issue = connectionShortage(processes, row?.most ?? 0)
  if (issue !== undefined) throw issue
}

/** The `application_name` of a process, unique so that processes can be counted. */
export const nameOfProcess = (kind: ProcessKind, id: string): string => `tenure ${kind}-${id}`

/**
 * The same check for one process that starts by itself: it counts the connected processes, and at least one of each kind, so that the
 * first process leaves room for the others. Other databases on the same server are not counted.
 */
export async function expectRoomFor(database: Database, kind: ProcessKind): Promise<void> {
  const there = await database.query<{ kind: ProcessKind; processes: number }>(sql`
    select kind, count(distinct application_name)::integer as processes
    from pg_stat_activity, substring(application_name from '^tenure (api|control|train)-') as kind
    where datname = current_database() and application_name <> current_setting('application_name') and kind is not null
    group by kind`)
  const processes = { api: 1, control: 1, train: 1, commands: 1 }
  for (const each of there) processes[each.kind] = each.processes + (each.kind === kind ? 1 : 0)
  await checkConnectionBudget(database, processes)
}

/** Why there are too few connections, with the figures and the remedy; undefined when there are enough. */
export function connectionShortage(processes: Processes, most: number): DomainError | undefined {
  const each = Object.entries(processes) as [ProcessKind, number][]
  const sum = each.reduce((all, [kind, count]) => all + count * maxConnectionsOf(kind), 0)
  const room = Math.floor(most * maxShare)
  if (sum <= room) return undefined
  const parts = each.map(([kind, count]) => `${kinds[kind]} ${count} × ${maxConnectionsOf(kind)}`)
  return new DomainError(
    'configuration_invalid',
    `the processes may open ${sum} connections to Postgres (${parts.join(', ')}), and 80 % of its max_connections of ${most} are ` +
      `${room}; start fewer processes, or set max_connections to ${Math.ceil(sum / maxShare)} and restart Postgres`,
    { sum, most, room },
  )
}
