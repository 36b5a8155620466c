/**
 * Stores how far the prediction log has been sent to a topic: in the order of the transactions that stored the rows, each row at least
 * once.
 */
import sql from 'sql-template-tag'
import type { FeatureFit } from '../../domain/model/features.ts'
import type { LoggedArm } from '../../domain/serving/route.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'

/** A row of the prediction log: a request with its response. */
export interface LoggedRequest {
  id: string
  /** ISO 8601 */
  at: string
  model: string
  version: string
  arm: LoggedArm
  releaseId?: string
  generation: number
  routingKey?: string
  instances: number
  features: Buffer
  outputs: number[]
  latencyUs: number
  keyId?: string
  reference?: string
}

/** With the exact time of Postgres: rounded to milliseconds it would lie before the row, which would be sent again. */
type SentRow = LoggedRequest & { storedIn: number; exactAt: string }

/** Every transaction with a smaller id has ended. */
const horizon = sql`txid_snapshot_xmin(txid_current_snapshot()) + (select ahead from prediction_numbering)`

/** The maximum number of rows of a batch, and the number of feature bytes after which a batch ends. */
const maxRows = 500
const maxBytes = 2_097_152

/**
 * Sends the next rows of the log and advances the position. Returns the number of rows; undefined while another process sends. A failure
 * keeps the position, so rows are sent again rather than lost. A new topic begins with the rows numbered from now on.
 */
export function sendPredictions(
  store: Store,
  topic: string,
  send: (rows: readonly LoggedRequest[], database: Database) => Promise<void>,
): Promise<number | undefined> {
  return store.transaction(async (database) => {
    if (!(await rowsFrom(database).any(sql`select from prediction_topics where topic = ${topic}`))) {
      await numberPredictions(database)
      await database.query(sql`
        insert into prediction_topics (topic, begins_after, stored_in)
        select ${topic}, ${horizon} - 1, ${horizon} - 1 on conflict do nothing`)
      return 0
    }
    const place = await rowsFrom(database).find<Place>(sql`
      select stored_in, at::text, id, begins_at from prediction_topics where topic = ${topic} for update skip locked`)
    if (place === undefined) return undefined
    const rows = await listUnsent(database, place)
    const last = rows.at(-1)
    if (last === undefined) return 0
    await send(rows, database)
    await database.query(sql`
      update prediction_topics set stored_in = ${last.storedIn}, at = ${last.exactAt}, id = ${last.id}, sent = sent + ${rows.length}
      where topic = ${topic}`)
    return rows.length
  })
}

interface Place {
  storedIn: number
  at: string
  id: string
  beginsAt: string
}

/** Rows after a position whose transactions have all ended, so that no earlier row can still appear. */
const listUnsent = (database: Database, { storedIn, at, id, beginsAt }: Place) =>
  rowsFrom(database).list<SentRow>(sql`
    select stored_in, at::text as exact_at, id, at, model, version, arm, release_id, generation, routing_key, instances, features, outputs, latency_us, key_id, reference
    from (
      select *, sum(octet_length(features)) over run as bytes, row_number() over run as place from predictions
      where stored_in >= ${storedIn} and at >= ${beginsAt}
        and (stored_in, at, id) > (${storedIn}::bigint, ${at}::timestamptz, ${id}::uuid)
        and stored_in < ${horizon}
      window run as (order by stored_in, at, id rows unbounded preceding)
      limit ${maxRows}
    ) as next where place = 1 or bytes <= ${maxBytes}
    order by stored_in, at, id`)

/** Starts to number rows; also called in a restored database, before a row is stored in it. */
export async function numberPredictions(database: Database): Promise<void> {
  await database.query(sql`select number_predictions()`)
}

/** Renumbers a restored database whose log was sent to a topic before. */
export async function renumberPredictions(database: Database): Promise<void> {
  if (await rowsFrom(database).any(sql`select from prediction_topics limit 1`))
    await numberPredictions(database)
}

/** Version → the order of the features of its rows. */
export async function listFits(
  database: Database,
  versions: readonly string[],
): Promise<Map<string, FeatureFit[]>> {
  const found = await database.query<{ version: string; fits: FeatureFit[] }>(sql`
    select version, manifest -> 'preprocessing' as fits from versions where version = any (${versions})`)
  return new Map(found.map(({ version, fits }) => [version, fits]))
}

/** The number of rows that wait to be sent, counted up to `most`. */
export const countUnsent = async (database: Database, topic: string, most: number): Promise<number> =>
  (await rowsFrom(database).value<number>(sql`
    select count(*) from (
      select from predictions cross join (select * from prediction_topics where topic = ${topic}) as sent
      where predictions.stored_in >= sent.stored_in and predictions.at >= sent.begins_at
        and (predictions.stored_in, predictions.at, predictions.id) > (sent.stored_in, sent.at, sent.id)
      limit ${most}) as waiting`)) ?? 0
