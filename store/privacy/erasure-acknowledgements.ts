/** Stores the acknowledgements of replicas: every row served before an erasure is in the log, where it can be deleted. */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

/** Live replicas that have not said that nothing from before the erasure waits with them. */
export async function listOutstanding(database: Database, id: string): Promise<string[]> {
  const rows = await database.query<{ id: string }>(sql`
    select id from replicas where lease_until > now() and not exists (
      select from erasure_acknowledgements as said where said.replica_id = replicas.id and said.erasure_id = ${id})
    order by id`)
  return rows.map((row) => row.id)
}

/** Those that are not over and that this replica has said nothing of yet. */
export async function listUnacknowledged(database: Database, replica: string): Promise<string[]> {
  const rows = await database.query<{ id: string }>(sql`
    select id from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said where said.erasure_id = erasures.id and said.replica_id = ${replica})`)
  return rows.map((row) => row.id)
}

export async function acknowledgeErasures(
  database: Database,
  { replica, ids }: { replica: string; ids: readonly string[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id)
    select erasures.id, replicas.id from erasures, replicas
    where erasures.id = any(${[...ids]}::text[]) and replicas.id = ${replica} on conflict do nothing`)
}
