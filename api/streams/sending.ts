/**
 * Sends the audit log and alerts to topics as CloudEvents 1.0 (structured JSON): each event at least once, in order, with a stable id.
 * Reads committed rows, so that no change waits for the broker.
 */
import { readRows, type AuditRow } from '../../store/audit/audit-log.ts'
import { moveStreamPosition } from '../../store/audit/stream-positions.ts'
import {
  listUnsentAlerts,
  markAlertsSent,
  settleSentAlerts,
  type AlertEvent,
} from '../../store/integrations/outbox.ts'
import { isError } from '../../domain/errors.ts'
import type { Database, Store } from '../../store/postgres.ts'
import { startLoop } from '../serving/poll-loop.ts'
import { streamCountOf } from './counts.ts'
import type { SentRecord, Stream } from './stream.ts'

export interface SendingOptions {
  store: Store
  stream: Stream
  topic: string
  /** Prefixes of the actions that are sent; all actions when absent. */
  actions?: readonly string[]
  /** The address of this installation. */
  source: string
  onError(message: string, error: unknown): void
}

/** The prefixes of the actions in the topic of releases. */
export const releaseActions = ['release.', 'champion.', 'routing.', 'kill_switch.'] as const

/** A poll costs one statement; listening would cost each replica a connection per topic. */
const everyMs = 1_000
const maxRows = 500

/** Sends the rows of the audit log until it is stopped. When a process stops, another continues. */
export function startSending({ actions, ...options }: SendingOptions): Sender {
  const { stream, topic, source } = options
  const isSent = ({ action }: AuditRow): boolean =>
    actions === undefined || actions.some((start) => action.startsWith(start))
  const kind = actions === undefined ? 'audit' : 'releases'
  return startSender(options, kind, async (database, seq) => {
    const rows = await readRows(database, seq, maxRows)
    const events = rows.filter(isSent).map((row) => eventOf(row, topic, source))
    if (events.length > 0) await stream.produce(events)
    streamCountOf(topic).done += events.length
    return { seq: rows.at(-1)?.seq ?? seq, isMore: rows.length === maxRows }
  })
}

/** Sends events of alerts in the same way. They have no common order, so each alert stores what was sent of it. */
export function startSendingAlerts(options: Omit<SendingOptions, 'actions'>): Sender {
  const { stream, topic, source } = options
  return startSender(options, 'alerts', async (database, after) => {
    const alerts = await listUnsentAlerts(database, { topic, after, limit: maxRows })
    if (alerts.length > 0) {
      await stream.produce(alerts.map((alert) => alertRecord(alert, topic, source)))
      await markAlertsSent(database, topic, alerts)
      streamCountOf(topic).done += alerts.length
    }
    const seq = await settleSentAlerts(database, { topic, after })
    return { seq, isMore: alerts.length === maxRows }
  })
}

export interface Sender {
  stop(): Promise<void>
}

/** Sends some of the events after a position. Returns the new position, and whether there are more. */
type SendSome = (database: Database, seq: number) => Promise<{ seq: number; isMore: boolean }>

function startSender(
  { store, topic, onError }: Pick<SendingOptions, 'store' | 'topic' | 'onError'>,
  kind: 'audit' | 'releases' | 'alerts',
  send: SendSome,
): Sender {
  return startSendingLoop({ topic, onError }, kind, async () => {
    let isMore: boolean | undefined
    await moveStreamPosition(store, `${kind} ${topic}`, async (database, seq) => {
      const sent = await send(database, seq)
      isMore = sent.isMore
      return sent.seq
    })
    return isMore
  })
}

/** Repeats `sendSome` while there is more, then polls. It returns undefined while another process sends, whose success is not known here. */
export function startSendingLoop(
  { topic, onError }: Pick<SendingOptions, 'topic' | 'onError'>,
  kind: string,
  sendSome: () => Promise<boolean | undefined>,
): Sender {
  const count = streamCountOf(topic)
  let stopping = false
  const loop = startLoop(
    async () => {
      for (let isMore: boolean | undefined = true; !stopping && isMore === true;) {
        isMore = await sendSome()
        if (isMore !== undefined) count.waitsFor = undefined
      }
    },
    {
      everyMs,
      onError(error) {
        count.waitsFor = isError(error) ? error.code : 'broker'
        onError(`the topic ${topic} cannot be sent ${kind}`, error)
      },
    },
  )
  return {
    async stop(): Promise<void> {
      stopping = true
      await loop.stop()
    },
  }
}

function eventOf(row: AuditRow, topic: string, source: string): SentRecord {
  const { seq, at, actor, action, subject, model, detail, previousHash, hash, signature } = row
  // A database that is restored from a backup repeats its numbers, but not its hashes.
  return cloudEvent(topic, model, {
    id: hash,
    source,
    type: `tenure.${action}`,
    subject,
    time: at,
    data: { seq, actor, action, subject, model: model ?? null, detail, previousHash, hash, signature },
  })
}

function alertRecord(event: AlertEvent, topic: string, source: string): SentRecord {
  const { about, happenedAt, ...alert } = event
  return cloudEvent(topic, alert.model, {
    id: `${alert.id}/${alert.raisedAt}/${about}`,
    source,
    type: `tenure.alert.${about}`,
    subject: String(alert.id),
    time: happenedAt,
    data: { ...alert, model: alert.model ?? null },
  })
}

interface EventFields {
  id: string
  source: string
  type: string
  subject: string
  time: string
  data: object
}

export const cloudEvent = (topic: string, model: string | undefined, fields: EventFields): SentRecord => ({
  topic,
  // The key keeps the events of a model in one partition, and so in order.
  key: Buffer.from(model ?? ''),
  value: Buffer.from(JSON.stringify({ specversion: '1.0', datacontenttype: 'application/json', ...fields })),
  headers: { 'content-type': 'application/cloudevents+json; charset=UTF-8' },
  id: fields.id,
})
