/**
 * Ends leases that outlive their replica. A replica that was killed has not ended its own, and a clock of the database that was set back
 * makes a lease last for as long as the step. Releases wait for each replica with a lease.
 */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import { endLease } from './replicas.ts'
import { silentForMs } from './routing.ts'

export interface IntroducedReplica extends ProcessIdentity {
  id: string
  leaseMs: number
}

/**
 * Stores the process of a replica and the length of its leases, and ends the leases of the other replicas of its machine whose process is
 * gone. Answers their ids.
 */
export async function introduceReplica(
  database: Database,
  { id, machine, process, isAlive, leaseMs }: IntroducedReplica,
): Promise<string[]> {
  await database.query(
    sql`update replicas set machine = ${machine}, process = ${process}, lease_ms = ${leaseMs} where id = ${id}`,
  )
  const others = await database.query<{ id: string; process: string }>(sql`
    select id, process from replicas
    where machine = ${machine} and id <> ${id} and lease_until > clock_timestamp() - ${silentForMs} * interval '1 millisecond'
    order by id`)
  const killed = others.filter((each) => !isAlive(each.process)).map((each) => each.id)
  for (const each of killed) await endLease(database, each)
  return killed
}

/** Shortens each lease that reaches further than a renewal of its replica could reach now. */
export async function shortenLeases(database: Database): Promise<void> {
  await database.query(sql`
    update replicas set lease_until = clock_timestamp() + lease_ms * interval '1 millisecond'
    where lease_until > clock_timestamp() + lease_ms * interval '1 millisecond'`)
}
