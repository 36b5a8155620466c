/** Stores the resources that each replica uses: one row per replica, overwritten. */
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export interface Resources {
  rssMb: number
  /** Used CPU cores: seconds of CPU time per second. */
  cpuShare: number
  /** The 99th percentile of the event-loop delay. */
  loopDelayMs: number
}

/** Writes nothing for a replica that the database does not know yet. */
export async function writeResources(
  database: Database,
  { replica, rssMb, cpuShare, loopDelayMs }: Resources & { replica: string },
): Promise<void> {
  await database.query(sql`
    insert into replica_resources (replica_id, rss_mb, cpu_share, loop_delay_ms)
    select id, ${rssMb}, ${cpuShare}, ${loopDelayMs} from replicas where id = ${replica}
    on conflict (replica_id) do update set rss_mb = excluded.rss_mb, cpu_share = excluded.cpu_share,
      loop_delay_ms = excluded.loop_delay_ms, at = clock_timestamp()`)
}
