/** Stores the acknowledgements of replicas that every row served before an erasure is in the log, where it can be deleted. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import { listRecentReplicas } from '../serving/routing.ts'

/** The ids of live replicas that may still hold rows from before the erasure. */
export async function listOutstanding(store: Pick<Store, 'query' | 'leases'>, id: string): Promise<string[]> {
  // Leases are read first: a replica that takes a lease later has no row from before the erasure in its memory.
  const { live } = await listRecentReplicas(store)
  const said = await rowsFrom(store).column<string>(
    sql`select replica_id from erasure_acknowledgements where erasure_id = ${id}`,
  )
  return live.map((each) => each.id).filter((each) => !said.includes(each))
}

/** Open erasures that this replica has not acknowledged. */
export const listUnacknowledged = (database: Database, replica: string) =>
  rowsFrom(database).column<string>(sql`
    select id from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said where said.erasure_id = erasures.id and said.replica_id = ${replica})`)

export async function acknowledgeErasures(
  database: Database,
  { replica, ids }: { replica: string; ids: readonly string[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id)
    select erasures.id, replicas.id from erasures, replicas
    where erasures.id = any(${[...ids]}::text[]) and replicas.id = ${replica} on conflict do nothing`)
}
