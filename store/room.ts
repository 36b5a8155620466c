/**
 * Whether Postgres has room for the connections that the processes may open. When it has not, whichever asks last is refused at
 * the worst moment, under load; so it is counted before anything starts.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../domain/errors.ts'
import type { Database } from './postgres.ts'

/** Most connections of one process of a kind; a replica listens for routes and keys on two more. */
export const pools = { api: 8, listeners: 2, control: 16, train: 4, commands: 6 } as const

/** The rest is for people, backups and what was not closed yet. */
const mostShare = 0.8

export type Asked = Record<string, { processes: number; connections: number }>

/** Throws `configuration_invalid` when all of them together may open more than four fifths of what Postgres allows. */
export async function expectRoom(database: Database, asked: Asked): Promise<void> {
  const [row] = await database.query<{ most: number }>(
    sql`select current_setting('max_connections')::integer as most`,
  )
  const most = row?.most ?? 0
  const sum = Object.values(asked).reduce((all, each) => all + each.processes * each.connections, 0)
  if (sum <= most * mostShare) return
  const parts = Object.entries(asked).map(
    ([name, { processes, connections }]) => `${name} ${processes} × ${connections}`,
  )
  throw new DomainError(
    'configuration_invalid',
    `the processes may open ${sum} connections to Postgres (${parts.join(', ')}), more than 80 % of its max_connections of ${most}; start fewer or raise it`,
    { sum, most },
  )
}
