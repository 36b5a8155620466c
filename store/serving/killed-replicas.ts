/** Ends the leases of replicas that were killed, so that they are not taken for replicas that are cut off and still serve. */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'
import { isAlive, type ProcessIdentity } from '../process-identity.ts'
import { endLease } from './replicas.ts'
import { silentForMs } from './routing.ts'

/**
 * Stores which process this replica is, and ends the leases of the other replicas of its machine whose process is gone. Answers their
 * ids.
 */
export async function endKilledReplicas(
  database: Database,
  id: string,
  { machine, process }: ProcessIdentity,
): Promise<string[]> {
  await database.query(sql`update replicas set machine = ${machine}, process = ${process} where id = ${id}`)
  const others = await database.query<{ id: string; process: string }>(sql`
    select id, process from replicas
    where machine = ${machine} and id <> ${id} and lease_until > clock_timestamp() - ${silentForMs} * interval '1 millisecond'
    order by id`)
  const killed = others.filter((each) => !isAlive(each.process)).map((each) => each.id)
  for (const each of killed) await endLease(database, each)
  return killed
}
