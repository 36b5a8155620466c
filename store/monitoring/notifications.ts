/** Stores the notifications of alerts. Each is decided once, and sent until it arrives or a day has passed. */
import sql from 'sql-template-tag'
import type { About, DeliveryRecord } from '../../domain/monitoring/alert-escalation.ts'
import type { Alert } from './alerts.ts'
import { fromRow, fromRowWithout, rowsFrom } from '../database/from-row.ts'
import { writeServiceState } from '../database/key-value.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'
import { iso } from './monitor-windows.ts'

/** Alerts that may need a notification: open ones, and those that ended in the last two days. */
export async function listNotifiable(
  database: Database,
): Promise<{ nowMs: number; alerts: { alert: Alert; deliveries: DeliveryRecord[] }[] }> {
  const rows = await database.query<{ deliveries: DeliveryRecord[]; now: Date }>(sql`
    select alerts.*, clock_timestamp() as now, (
      select coalesce(jsonb_agg(jsonb_build_object(
        'channel', channel, 'about', about, 'dueMs', (extract(epoch from due_at) * 1000)::float8,
        'waits', next_at is not null, 'sentMs', (extract(epoch from sent_at) * 1000)::float8,
        'sentSeverity', sent_as ->> 'severity', 'sentCause', sent_as ->> 'cause')), '[]')
      from alert_notifications where alert_id = alerts.id
    ) as deliveries
    from alerts where resolved_at is null or resolved_at > now() - interval '2 days' order by id`)
  return {
    nowMs: rows[0]?.now.getTime() ?? 0,
    alerts: rows.map((row) => ({
      alert: fromRowWithout<Alert>(row, 'now', 'deliveries'),
      deliveries: row.deliveries,
    })),
  }
}

/** Stores the notifications to send. A repeated call changes nothing. */
export async function insertNotifications(
  database: Database,
  messages: readonly (DeliveryRecord & { alertId: number })[],
): Promise<void> {
  if (messages.length === 0) return
  const rows = messages.map((message) => ({ ...message, due: iso(message.dueMs) }))
  await database.query(sql`
    insert into alert_notifications (alert_id, channel, about, due_at)
    select "alertId", channel, about, due
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as row ("alertId" bigint, channel text, about text, due timestamptz)
    on conflict do nothing`)
}

/** The notifications of the same channel and key that were due for an alert raised later than `message`. */
const ofLaterAlert = sql`
  alerts join alerts as later_alert using (dedupe_key) join alert_notifications as later on later.alert_id = later_alert.id
  where alerts.id = message.alert_id and later_alert.id > alerts.id and later.channel = message.channel and later.about = 'raised'`

/**
 * Gives up the waiting notifications that no longer say what is true: that an alert is open which was acknowledged or has ended, and that
 * one has ended which the channel knows as raised again, because the end would close the incident of the later alert. A relay knows an alert
 * by its kind and severity too.
 */
export async function giveUpOutdated(
  database: Database,
  { noticeKinds, relays }: OutdatedExceptions,
): Promise<void> {
  await database.query(sql`
    update alert_notifications as message set next_at = null, given_up_at = now()
    from alerts as alert
    where alert.id = alert_id and next_at <= clock_timestamp() and case about
      when 'resolved' then exists (select from ${ofLaterAlert} and later.sent_at is not null
        and (message.channel <> all(${relays}) or later.sent_as - 'cause' = jsonb_build_object('kind', alert.kind, 'severity', alert.severity)))
      else kind <> all(${noticeKinds}) and (resolved_at is not null or (acknowledged_at is not null and channel <> all(${relays}))) end`)
}

export interface OutdatedExceptions {
  /** The kinds of alerts that are stored as resolved and sent nevertheless. */
  noticeKinds: readonly string[]
  /** The channels that need acknowledged alerts too. */
  relays: readonly string[]
}

export interface PendingNotification {
  id: number
  alert: Alert
  channel: string
  about: About
  attempts: number
  /** The time since the notification was due. */
  ageMs: number
  /** How the channel was sent the alert last. */
  former?: SentAs
}

export type SentAs = Pick<Alert, 'kind' | 'severity' | 'cause'>

/**
 * Claims the notifications to send now from other processes for `forMs`, the oldest first. The end of an alert waits while a later alert
 * with its key is being sent to the channel.
 */
export async function claimNotifications(
  database: Database,
  { forMs, limit = 100 }: { forMs: number; limit?: number },
): Promise<PendingNotification[]> {
  const rows = await database.query<
    Omit<PendingNotification, 'alert' | 'former'> & { messageId: number; former: SentAs | null }
  >(sql`
    with due as (
      select id from alert_notifications as message
      where next_at <= clock_timestamp() and not (about = 'resolved' and exists (select from ${ofLaterAlert} and later.next_at is not null))
      order by id limit ${limit} for update skip locked
    ), claimed as (
      update alert_notifications set next_at = clock_timestamp() + ${forMs}::float8 * interval '1 millisecond'
      from due where alert_notifications.id = due.id returning alert_notifications.*
    )
    select alerts.*, claimed.id as "messageId", channel, about, attempts,
      extract(epoch from clock_timestamp() - due_at)::float8 * 1000 as "ageMs", (
        select sent_as from alert_notifications as earlier
        where earlier.alert_id = alerts.id and earlier.channel = claimed.channel and sent_at is not null order by id desc limit 1
      ) as former
    from claimed join alerts on alerts.id = alert_id order by claimed.id`)
  return rows.map(({ messageId, channel, about, attempts, ageMs, former, ...alert }) => ({
    id: messageId,
    alert: fromRow<Alert>(alert),
    channel,
    about,
    attempts,
    ageMs,
    former: former ?? undefined,
  }))
}

export async function markNotificationSent(
  database: Database,
  { id, sentAs }: { id: number; sentAs: SentAs },
): Promise<void> {
  await database.query(sql`
    update alert_notifications set sent_at = now(), next_at = null, attempts = attempts + 1, problem = null, sent_as = ${JSON.stringify(sentAs)}
    where id = ${id}`)
}

/**
 * Schedules the next attempt of a notification; without `againMs`, marks it as given up. A notification that another process has sent in
 * the meantime stays sent.
 */
export async function markNotificationFailed(
  database: Database,
  { id, problem, againMs }: { id: number; problem: string; againMs: number | undefined },
): Promise<void> {
  await database.query(sql`
    update alert_notifications set attempts = attempts + 1, problem = ${problem.slice(0, 500)},
      next_at = clock_timestamp() + ${againMs ?? null}::float8 * interval '1 millisecond',
      given_up_at = case when ${againMs === undefined}::boolean then now() end
    where id = ${id} and sent_at is null`)
}

const deliverySign = 'alerts/delivery'

/** Records that the control worker delivers notifications. */
export const writeDeliverySign = (database: Database) => writeServiceState(database, deliverySign, {})

/** Whether the control worker has delivered notifications within `withinMs`. */
export async function isDelivering(database: Database, withinMs: number): Promise<boolean> {
  const [row] = await database.query(prepared`
    select from service_state
    where name = ${deliverySign} and at > clock_timestamp() - ${withinMs}::float8 * interval '1 millisecond'`)
  return row !== undefined
}

export interface FailingChannel {
  channel: string
  /** When its oldest notification was due that has not arrived. */
  since: string
  /** Why the newest of them has not arrived. */
  problem: string
}

/**
 * Lists the channels to which nothing has arrived for `forMs` although it was tried. A notification that was given up after a day counts until
 * another one arrives.
 */
export const listFailing = (database: Database, { forMs }: { forMs: number }) =>
  rowsFrom(database).list<FailingChannel>(sql`
    select channel, min(due_at) as since, (array_agg(problem order by id desc))[1] as problem
    from alert_notifications as failed
    where problem is not null and sent_at is null and (next_at is not null or given_up_at >= due_at + interval '1 day')
      and due_at > now() - interval '3 days'
      and not exists (select from alert_notifications as sent where sent.channel = failed.channel and sent.sent_at > failed.due_at)
    group by channel having min(due_at) < clock_timestamp() - ${forMs}::float8 * interval '1 millisecond'
    order by channel`)
