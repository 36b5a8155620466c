/** Stores the acknowledgements of replicas that every row served before an erasure is in the log, where it can be deleted. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'
import { listRecentReplicas } from '../serving/routing.ts'

/** The ids of live replicas that may still hold rows from before the erasure. */
export async function listOutstanding(store: Pick<Store, 'query' | 'leases'>, id: string): Promise<string[]> {
  // Leases are read first: a replica that takes a lease later has no row from before the erasure in its memory.
  const { live } = await listRecentReplicas(store)
  const acknowledged = await rowsFrom(store).column<string>(sql`
    select said.replica_id from erasure_acknowledgements as said join erasures on erasures.id = said.erasure_id
    where said.erasure_id = ${id} and said.at >= erasures.requested_at`)
  return live.map((each) => each.id).filter((each) => !acknowledged.includes(each))
}

/** An erasure as of its latest request, at a microsecond. */
export interface RequestedErasure {
  id: string
  requestedAt: string
}

/** Open erasures that this replica has not acknowledged since they were requested, or requested again. */
export const listUnacknowledged = (database: Database, replica: string) =>
  rowsFrom(database).list<RequestedErasure>(sql`
    select id, requested_at::text as requested_at from erasures where ended_at is null and not exists (
      select from erasure_acknowledgements as said
      where said.erasure_id = erasures.id and said.replica_id = ${replica} and said.at >= erasures.requested_at)`)

/** Leaves out erasures that were requested again since the replica read them: later rows may be in its memory. */
export async function acknowledgeErasures(
  database: Database,
  { replica, settled }: { replica: string; settled: readonly RequestedErasure[] },
): Promise<void> {
  await database.query(sql`
    insert into erasure_acknowledgements (erasure_id, replica_id, at)
    select erasures.id, replicas.id, clock_timestamp() from replicas, erasures
      join unnest(${settled.map(({ id }) => id)}::text[], ${settled.map(({ requestedAt }) => requestedAt)}::timestamptz[])
        as settled (id, requested_at) using (id, requested_at)
    where replicas.id = ${replica} on conflict (erasure_id, replica_id) do update set at = excluded.at`)
}
