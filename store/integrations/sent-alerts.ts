/** Stores which alert events have been sent to a topic: an alert is raised, possibly acknowledged, and resolved. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Alert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'

/** An event of an alert. */
export interface AlertEvent extends Alert {
  about: 'raised' | 'acknowledged' | 'resolved'
  happenedAt: string
}

/** The unsent events of alerts after `after`, the earliest first. */
export const listUnsentAlerts = (
  database: Database,
  { topic, after, limit }: { topic: string; after: number; limit: number },
) =>
  rowsFrom(database).list<AlertEvent>(sql`
    select alerts.*, events.about, events.happened_at
    from alerts cross join lateral (values (1, 'raised', raised_at), (2, 'acknowledged', acknowledged_at),
      (3, 'resolved', resolved_at)) as events (place, about, happened_at)
    where alerts.id > ${after} and events.happened_at is not null and not exists (
      select from sent_alerts where topic = ${topic} and alert_id = alerts.id and about = events.about)
    order by events.happened_at, alerts.id, events.place limit ${limit}`)

export async function markAlertsSent(
  database: Database,
  topic: string,
  events: readonly Pick<AlertEvent, 'id' | 'about'>[],
): Promise<void> {
  const ids = events.map(({ id }) => id)
  const abouts = events.map(({ about }) => about)
  await database.query(sql`
    insert into sent_alerts (topic, alert_id, about)
    select ${topic}, id, about from unnest(${ids}::bigint[], ${abouts}::text[]) as sent (id, about)`)
}

/**
 * Deletes the progress of alerts whose events are all sent, and returns the last of these alerts. Alerts of the last hour stay, because a
 * smaller id may be committed after a greater one.
 */
export async function settleSentAlerts(
  database: Database,
  { topic, after }: { topic: string; after: number },
): Promise<number> {
  const last = await rowsFrom(database).value<number>(sql`
    select coalesce(min(id) filter (where raised_at > now() - interval '1 hour' or not exists (
      select from sent_alerts where topic = ${topic} and alert_id = alerts.id and about = 'resolved')) - 1, max(id), ${after})
    from alerts where id > ${after}`)
  await database.query(sql`delete from sent_alerts where topic = ${topic} and alert_id <= ${last ?? after}`)
  return last ?? after
}
