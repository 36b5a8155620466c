/**
 * Sends the audit log to topics as CloudEvents 1.0 (structured JSON): each row at least once, in the order of the log, with an id that repeats.
 * It reads what is committed, so that no change waits for the broker.
 */
import { readRows, type AuditRow } from '../../store/audit/audit-log.ts'
import { moveStreamPosition } from '../../store/audit/stream-positions.ts'
import type { Store } from '../../store/postgres.ts'
import { startLoop } from '../serving/poll-loop.ts'
import type { SentRecord, Stream } from './stream.ts'

export interface SendingOptions {
  store: Store
  stream: Stream
  topic: string
  /** How the actions begin that are sent; all when absent. */
  actions?: readonly string[]
  /** The address of this installation. */
  source: string
  onError(message: string, error: unknown): void
}

/** The actions of the topic of releases. */
export const releaseActions = ['release.', 'champion.', 'routing.', 'flag.'] as const

/** A poll costs one statement; a listener would cost each replica a connection for each topic. */
const everyMs = 1_000
const maxRows = 500

/** Sends until it is stopped. Other processes take over where one stops. */
export function startSending({ store, stream, topic, actions, source, onError }: SendingOptions) {
  const name = `${actions === undefined ? 'audit' : 'releases'} ${topic}`
  const isSent = ({ action }: AuditRow): boolean =>
    actions === undefined || actions.some((start) => action.startsWith(start))
  const sendSome = async (): Promise<boolean> => {
    let isMore = false
    await moveStreamPosition(store, name, async (database, seq) => {
      const rows = await readRows(database, seq, maxRows)
      const events = rows.filter(isSent).map((row) => eventOf(row, topic, source))
      if (events.length > 0) await stream.produce(events)
      isMore = rows.length === maxRows
      return rows.at(-1)?.seq ?? seq
    })
    return isMore
  }
  let stopping = false
  const loop = startLoop(
    async () => {
      while (!stopping && (await sendSome()));
    },
    { everyMs, onError: (error) => onError(`the audit log cannot be sent to ${topic}`, error) },
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
  const event = {
    specversion: '1.0',
    // A database that is restored from a backup repeats its numbers, but not its hashes.
    id: hash,
    source,
    type: `tenure.${action}`,
    subject,
    time: at,
    datacontenttype: 'application/json',
    data: { seq, actor, action, subject, model: model ?? null, detail, previousHash, hash, signature },
  }
  return {
    topic,
    // Those of a model are in one partition, and so in their order.
    key: Buffer.from(model ?? ''),
    value: Buffer.from(JSON.stringify(event)),
    headers: { 'content-type': 'application/cloudevents+json; charset=UTF-8' },
    id: hash,
  }
}
