/** Counts the work that is unfinished after the traffic has ended, because leftovers accumulate over months. */
import { setTimeout as pause } from 'node:timers/promises'
import sql from 'sql-template-tag'
import type { HalfYearSystem } from './system.ts'

/** Waits for work in progress up to the duration of a release, and counts the rest. */
export async function readLeft({ store }: HalfYearSystem): Promise<Record<string, number>> {
  const deadline = Date.now() + 180_000
  for (;;) {
    const [row] = await store.query<{ [what: string]: number }>(sql`
      select
        (select count(*)::int from retrainings where ended_at is null
          and started_at < now() - interval '2 minutes') as "retrainings that began more than two minutes ago and run",
        (select count(*)::int from releases where ended_at is null
          and started_at < now() - interval '2 minutes') as "releases that began more than two minutes ago and run",
        (select count(*)::int from routing join replicas on lease_until > clock_timestamp()
          left join routing_acknowledgements on replica_id = id and routing_acknowledgements.model = routing.model
          where (routing_acknowledgements.epoch, routing_acknowledgements.generation) is distinct from (routing.epoch, routing.generation))
          as "routes that a live replica has not acknowledged",
        (select count(*)::int from alert_notifications where next_at is not null) as "messages to people that wait",
        (select count(*)::int from outcomes where not exists (select from predictions where id = request_id))
          as "outcomes without their prediction"`)
    if (row === undefined) return {}
    if (Object.values(row).every((count) => count === 0) || Date.now() > deadline) return row
    await pause(2_000)
  }
}
