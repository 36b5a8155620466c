/**
 * Observes the leases of all replicas, and ends those that outlive their replica. A killed replica has not ended its lease, and a
 * database clock that was set back prolongs a lease by the step.
 */
import sql from 'sql-template-tag'
import type { Database, Store } from '../postgres.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import { silentForMs } from './observed-leases.ts'
import { endLease, type Replica } from './replicas.ts'
import { listRecentReplicas } from './routing.ts'

export interface IntroducedReplica extends ProcessIdentity {
  id: string
}

/** The payload of the notification that a replica has started. No model can have this name. */
export const replicaStarted = 'replica started'

/**
 * Stores the process of a replica, ends the leases of other replicas of its machine whose process is gone, and notifies the rest.
 * Returns the ids of those that were gone.
 */
export async function introduceReplica(
  database: Database,
  { id, machine, process, isAlive }: IntroducedReplica,
): Promise<string[]> {
  await database.query(sql`update replicas set machine = ${machine}, process = ${process} where id = ${id}`)
  const others = await database.query<{ id: string; process: string }>(sql`
    select id, process from replicas
    where machine = ${machine} and id <> ${id} and lease_until > clock_timestamp() - ${silentForMs} * interval '1 millisecond'
    order by id`)
  const killed = others.filter((each) => !isAlive(each.process)).map((each) => each.id)
  for (const each of killed) await endLease(database, each)
  await database.query(sql`select pg_notify('tenure_routing', ${replicaStarted})`)
  return killed
}

/** Another replica, with its address. */
export type PeerReplica = Pick<Replica, 'id' | 'host' | 'url'>

/**
 * The other replicas whose lease may be in force or ended less than an hour ago: one of those may still serve. A later order waits for
 * silent ones only until this process has observed them for a whole lease.
 */
export async function observePeers(store: Store, id: string): Promise<PeerReplica[]> {
  await shortenLeases(store)
  const { live, silent, gone } = await listRecentReplicas(store)
  if (gone.length > 0)
    await endGoneLeases(
      store,
      gone.map((each) => each.id),
    )
  const others = [...live, ...silent].filter((each) => each.id !== id)
  return others.map(({ id: peer, host, url }) => ({ id: peer, host, url }))
}

/** Shortens each lease that ends later than a renewal at this moment could. */
export async function shortenLeases(database: Database): Promise<void> {
  const reach = sql`clock_timestamp() + coalesce(nullif(lease_ms, 0), ${-silentForMs}) * interval '1 millisecond'`
  await database.query(sql`update replicas set lease_until = ${reach} where lease_until > ${reach}`)
}

/** A starting process need not wait for a replica that another process has observed to be gone. */
async function endGoneLeases(database: Database, ids: readonly string[]): Promise<void> {
  await database.query(sql`
    update replicas set lease_ms = 0
    where id = any(${[...ids]}) and lease_until < clock_timestamp() - ${silentForMs} * interval '1 millisecond'`)
}
