/** Stores the dashboard sessions that users ended early. Every other session is valid by its signed cookie alone. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export const isSessionRevoked = (database: Database, id: string) =>
  rowsFrom(database).any(sql`select 1 from revoked_sessions where id = ${id}`)

/** Ends a session, and deletes the rows of expired ones. */
export async function revokeSession(
  database: Database,
  { id, untilMs }: { id: string; untilMs: number },
): Promise<void> {
  await database.query(sql`
    with old as (delete from revoked_sessions where until < now() - interval '1 hour')
    insert into revoked_sessions (id, until) values (${id}, to_timestamp(${untilMs}::float8 / 1000))
    on conflict (id) do nothing`)
}
