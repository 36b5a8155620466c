/**
 * Encodes and stores the rows of the prediction log. A row is encoded in Postgres' binary COPY format while the request is served; this
 * takes a microsecond and leaves nothing to convert later.
 */
import type pg from 'pg'
import sql, { empty, raw, type Sql } from 'sql-template-tag'
import type { Arm, LoggedArm } from '../../domain/serving/route.ts'
import { copyIn, splitTuples } from '../database/binary-copy.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The fields that all rows of one arm of one routing generation share. */
export interface PredictionOrigin {
  model: string
  version: string
  arm: Arm
  release: string | undefined
  generation: number
}

/** One served request. The caller reuses the object for every request. */
export interface PredictionRecord {
  /** Sixteen bytes. */
  id: Uint8Array
  atMs: number
  routingKey: string | undefined
  instances: number
  /** The number features as 32-bit floats, row by row, little-endian; NaN for null. */
  numbers: Uint8Array
  numberBytes: number
  /** The text features, row by row: four bytes of length, little-endian, then UTF-8; all ones for null. */
  texts: Uint8Array
  textBytes: number
  outputs: Float32Array
  /** How many of the outputs belong to this request. */
  outputCount: number
  latencyUs: number
  /** The id of the requesting key, in ASCII. */
  keyId: string | undefined
  reference: string | undefined
}

const columns =
  'model, version, arm, release_id, generation, id, at, routing_key, instances, features, outputs, latency_us, key_id, reference'
const columnCount = 14
const copyText = `copy predictions (${columns}) from stdin (format binary)`
const float4Oid = 700
const fewBytes = 200
/** Milliseconds from 1970 to 2000, where Postgres begins to count. */
const epochMs = Date.UTC(2000, 0, 1)

/** The bytes with which each row of this origin begins. */
export function encodeOrigin(origin: Omit<PredictionOrigin, 'arm'> & { arm: LoggedArm }): Uint8Array {
  const texts = [origin.model, origin.version, origin.arm, origin.release]
  const parts: Uint8Array[] = [int16(columnCount)]
  for (const text of texts) {
    const bytes = text === undefined ? undefined : Buffer.from(text)
    parts.push(int32(bytes?.byteLength ?? -1))
    if (bytes !== undefined) parts.push(bytes)
  }
  const generation = Buffer.alloc(8)
  generation.writeBigInt64BE(BigInt(origin.generation))
  return Buffer.concat([...parts, int32(8), generation])
}

/** The maximum number of bytes of a record. */
export function sizeOf(origin: Uint8Array, record: PredictionRecord): number {
  const texts = 3 * ((record.routingKey?.length ?? 0) + (record.reference?.length ?? 0))
  const keyId = record.keyId?.length ?? 0
  return (
    origin.byteLength + texts + keyId + record.numberBytes + record.textBytes + record.outputCount * 8 + 112
  )
}

/** Writes a row at `at`, where `sizeOf` bytes are free. Returns the end of the row. */
export function encodePrediction(
  into: Buffer,
  at: number,
  origin: Uint8Array,
  record: PredictionRecord,
): number {
  at = copyBytes(into, at, origin, origin.byteLength)
  at = into.writeInt32BE(16, at)
  at = copyBytes(into, at, record.id, 16)
  at = into.writeInt32BE(8, at)
  const microseconds = (record.atMs - epochMs) * 1_000
  const high = Math.floor(microseconds / 0x1_0000_0000)
  at = into.writeInt32BE(high, at)
  at = into.writeUInt32BE(microseconds - high * 0x1_0000_0000, at)
  at = encodeText(into, at, record.routingKey)
  at = into.writeInt32BE(4, at)
  at = into.writeInt32BE(record.instances, at)
  at = into.writeInt32BE(record.numberBytes + record.textBytes, at)
  at = copyBytes(into, at, record.numbers, record.numberBytes)
  at = copyBytes(into, at, record.texts, record.textBytes)
  at = encodeFloats(into, at, record.outputs, record.outputCount)
  at = into.writeInt32BE(4, at)
  at = into.writeInt32BE(record.latencyUs, at)
  const { keyId } = record
  at = into.writeInt32BE(keyId?.length ?? -1, at)
  if (keyId !== undefined) for (let i = 0; i < keyId.length; i++) into[at++] = keyId.charCodeAt(i)
  return encodeText(into, at, record.reference)
}

function encodeText(into: Buffer, at: number, text: string | undefined): number {
  if (text === undefined) return into.writeInt32BE(-1, at)
  const length = into.write(text, at + 4)
  return into.writeInt32BE(length, at) + length
}

/** A few bytes are copied faster by a loop than by a call that first inspects both arrays. */
function copyBytes(into: Buffer, at: number, from: Uint8Array, count: number): number {
  if (count > fewBytes) into.set(count === from.byteLength ? from : from.subarray(0, count), at)
  else for (let i = 0; i < count; i++) into[at + i] = from[i]!
  return at + count
}

/** real[] of one dimension: length, dimensions, has-null flag, element type, size, lower bound, then each with its length. */
function encodeFloats(into: Buffer, at: number, values: Float32Array, count: number): number {
  at = into.writeInt32BE(20 + count * 8, at)
  at = into.writeInt32BE(1, at)
  at = into.writeInt32BE(0, at)
  at = into.writeInt32BE(float4Oid, at)
  at = into.writeInt32BE(count, at)
  at = into.writeInt32BE(1, at)
  for (let i = 0; i < count; i++, at += 8) {
    float[0] = values[i]!
    into[at] = into[at + 1] = into[at + 2] = 0
    into[at + 3] = 4
    into[at + 4] = floatBytes[3]!
    into[at + 5] = floatBytes[2]!
    into[at + 6] = floatBytes[1]!
    into[at + 7] = floatBytes[0]!
  }
  return at
}

const float = new Float32Array(1)
const floatBytes = new Uint8Array(float.buffer)

/** Rows in the format of COPY. */
export interface EncodedRows {
  bytes: Uint8Array
  rows: number
}

/** Stores rows that Postgres has certainly not received before, all or none, with their account entry when one is given. */
export async function copyPredictions(
  client: pg.ClientBase,
  bytes: Uint8Array,
  entry?: Entry,
): Promise<void> {
  await copyIn(client, entry === undefined ? copyText : `${copyText}; ${entryText(entry)}`, [bytes])
}

/** Ends the open transaction with these rows, in one round trip. */
export async function copyPredictionsAndCommit(client: pg.ClientBase, bytes: Uint8Array): Promise<void> {
  await copyIn(client, `${copyText}; commit`, [bytes])
}

/** Removes rows from the table `arrived` that must not be stored. Returns the number removed. */
export type ErasureFilter = (client: pg.ClientBase) => Promise<number>

/**
 * Stores rows of which an earlier attempt, whose response was lost, may have stored some. Every row is stored once, and entered once in
 * the account when one is given. Returns the places of the rows whose content Postgres rejects, and how many the filter removed.
 */
export async function storePredictions(
  client: pg.ClientBase,
  block: EncodedRows,
  {
    account,
    erasureFilter,
  }: { account?: string | undefined; erasureFilter?: ErasureFilter | undefined } = {},
): Promise<{ refused: number[]; sifted: number }> {
  const { bytes, rows } = block
  // A copy takes a third of the time of the checked insert, and most rows were never sent before.
  if (erasureFilter === undefined)
    try {
      await copyPredictions(client, bytes, account === undefined ? undefined : { account, rows })
      return { refused: [], sifted: 0 }
    } catch (error) {
      if (!isRefusal(error) && !isKnown(error)) throw error
    }
  let sifted = 0
  const refused = await storeInParts(block, async (part) => {
    sifted += await copyOnce(client, part.bytes, account, erasureFilter)
  })
  return { refused, sifted }
}

/**
 * Stores rows, all or none; where Postgres rejects the content of one, stores each half. Returns the places of the rejected rows. `first`
 * is the place of the first row of a part.
 */
export async function storeInParts(
  block: EncodedRows,
  store: (part: EncodedRows, first: number) => Promise<void>,
  first = 0,
): Promise<number[]> {
  try {
    await store(block, first)
    return []
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
  const { bytes, rows } = block
  if (rows === 1) return [first]
  const half = rows >> 1
  const middle = splitTuples(bytes)
    .slice(0, half)
    .reduce((sum, tuple) => sum + tuple.byteLength, 0)
  const refused = await storeInParts({ bytes: bytes.subarray(0, middle), rows: half }, store, first)
  const rest = { bytes: bytes.subarray(middle), rows: rows - half }
  return [...refused, ...(await storeInParts(rest, store, first + half))]
}

async function copyOnce(
  client: pg.ClientBase,
  bytes: Uint8Array,
  account: string | undefined,
  erasureFilter: ErasureFilter | undefined,
): Promise<number> {
  await client.query('begin')
  try {
    const { stored, sifted } = await insertPredictions(client, [bytes], erasureFilter)
    if (account !== undefined) await client.query(entryText({ account, rows: stored }))
    await client.query('commit')
    return sifted
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

/**
 * Stores rows in the open transaction, unless they are stored or the filter removes them (`sifted`). Leaves the table `arrived` until its
 * end.
 */
export async function insertPredictions(
  client: pg.ClientBase,
  blocks: readonly Uint8Array[],
  erasureFilter: ErasureFilter | undefined,
): Promise<{ stored: number; sifted: number }> {
  await client.query('create temporary table arrived (like predictions) on commit drop')
  await copyIn(client, `copy arrived (${columns}) from stdin (format binary)`, blocks)
  const sifted = erasureFilter === undefined ? 0 : await erasureFilter(client)
  const { rowCount } = await client.query(
    `insert into predictions (${columns}) select ${columns} from arrived on conflict do nothing`,
  )
  return { stored: rowCount ?? 0, sifted }
}

/** Whether Postgres rejected the content (SQLSTATE classes 22 and 54), so that a retry cannot help. */
function isRefusal(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^(22|54)/.test(code)
}

/** Whether a row is already stored (SQLSTATE unique_violation). */
const isKnown = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === '23505'

const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

// Counts how many rows each API process has stored in the prediction log. The count is written in the transaction of the rows, so it stays
// exact after a crash between commit and response.

/** The rows that one transaction stores for one process. */
interface Entry {
  account: string
  rows: number
}

/**
 * Runs after the rows, in their transaction and in the same message, so it has no parameters. A settled account accepts no more rows:
 * rows of a dead process that are still on their way to the server fail with it, and stay counted as lost.
 */
function entryText({ account, rows }: Entry): string {
  if (!/^\w+$/.test(account) || !Number.isSafeInteger(rows)) throw new Error(`${account} is not an account`)
  return `insert into prediction_log_accounts (account, stored) values ('${account}', ${rows})
    on conflict (account) do update set stored = prediction_log_accounts.stored + excluded.stored`
}

/**
 * Settles the account of a process that has ended and has no spooled rows left. Returns how many of its served rows are stored nowhere.
 * Nothing may be stored for it afterwards. A repeated call changes nothing.
 */
export async function settleAccount(
  database: Database,
  { account, served }: { account: string; served: number },
): Promise<number> {
  const dropped = await rowsFrom(database).value<number>(sql`
    insert into prediction_log_accounts as known (account, served, dropped, settled_at)
    values (${account}, ${served}, ${served}, now())
    on conflict (account) do update set
      served = coalesce(known.served, greatest(excluded.served, known.stored)),
      dropped = coalesce(known.dropped, greatest(excluded.served - known.stored, 0)),
      settled_at = coalesce(known.settled_at, now())
    returning dropped`)
  return dropped ?? 0
}

/** The sums over all processes with a settled account; served = stored + dropped. */
export async function sumAccounts(
  database: Database,
): Promise<Record<'accounts' | 'open' | 'served' | 'stored' | 'dropped', number>> {
  const [row] = await database.query<Awaited<ReturnType<typeof sumAccounts>>>(sql`
    select count(*) as accounts, count(*) filter (where settled_at is null) as open,
      coalesce(sum(served), 0)::bigint as served, sum(stored)::bigint as stored, coalesce(sum(dropped), 0)::bigint as dropped
    from prediction_log_accounts`)
  return row!
}

// Creates and drops the daily partitions of the prediction log and deletes expired rows. Every step is one repeatable statement, so that a
// crash only leaves rows longer than needed.

/** Creates the missing partitions of today and the next days. Returns the number created. */
export async function createPartitions(database: Database, ahead: number): Promise<number> {
  let made = 0
  for (let days = 0; days <= ahead; days++) {
    const [row] = await database.query<{ made: boolean }>(
      sql`select make_prediction_day((now() at time zone 'UTC')::date + ${days}::integer) as made`,
    )
    if (row?.made === true) made++
  }
  return made
}

/** Drops the days of the log that ended more than `keepDays` ago. Returns their names. */
export async function dropPartitions(database: Database, keepDays: number): Promise<string[]> {
  const dropped: string[] = []
  for (;;) {
    const [row] = await database.query<{ day: string | null }>(
      sql`select drop_prediction_day(now() - make_interval(days => ${keepDays}::integer)) as day`,
    )
    if (typeof row?.day !== 'string') return dropped
    dropped.push(row.day)
  }
}

/**
 * Other tables that grow with every request or judged window, with the condition for an expired row. `before` is an expression whose value the
 * planner knows, so that it finds the expired rows by an index of their time. With a column of a subquery in its place, each look read the table.
 */
const forgettable = (before: Sql) =>
  ({
    // Rows of days that had no partition when they arrived.
    predictions_default: sql`at < ${before}`,
    // Outcomes and reviews of deleted predictions. Ids chosen by callers contain no time.
    outcomes: sql`prediction_id < first_id_at(${before}) and prediction_time(prediction_id) is not null
    or arrived_at < ${before} and prediction_time(prediction_id) is null`,
    reviews: sql`prediction_id < first_id_at(${before}) and prediction_time(prediction_id) is not null
    or reviewed_at < ${before} and prediction_time(prediction_id) is null`,
    events: sql`arrived_at < ${before}`,
    shadow_pairs: sql`at < ${before}`,
    failed_requests: sql`at < ${before}`,
    // The judge of an open release reads the counters since its start. They name no request, unlike pairs and events.
    tick_counters: sql`tick < ${before} and release_id not in (select id from releases where ended_at is null)`,
    // A unit counts once as long as its release is open; a caller that fails between releases, for ten seconds.
    counted_units: sql`tick < ${before} and release_id not in (select id from releases where ended_at is null)`,
    feature_counts: sql`hour < ${before}`,
    prediction_log_accounts: sql`settled_at < ${before}`,
    drift_judgements: sql`at < ${before}`,
    quality_judgements: sql`at < ${before}`,
    serving_judgements: sql`at < ${before}`,
    monitor_windows: sql`at < ${before}`,
    integration_outbox: sql`at < ${before}`,
    // The commands to a release stay with it.
    commands: sql`at < ${before} and next_at is null and release_id is null`,
    erased_requests: sql`erased_at < ${before}`,
    // What was rejected, and what newer files have taken the place of. The audit log keeps its digest.
    model_files: sql`sent_at < ${before} and state <> 'waiting'
    and not exists (select from models where name = old.model and files_digest = old.digest)`,
    // The last firing of each trigger stays, and so does one that has not started anything yet.
    trigger_firings: sql`fired_at < ${before}
    and (refused is not null or batch is not null or exists (select from retrainings where dedupe_key = old.id))
    and exists (select from trigger_firings as later
      where later.model = old.model and later.trigger = old.trigger and later.fired_at > old.fired_at)`,
    // Deleted before their batches, because they reference them.
    batch_predictions: sql`batch_id in (select id from batch_partitions join batches using (id)
    where asked_at < ${before} and (partition !~ '^[0-9]{4}-' or partition < (${before} at time zone 'UTC')::date::text) and status <> 'running')`,
  }) satisfies Record<string, Sql>

export type ExpiringTable = keyof ReturnType<typeof forgettable>
export const expiringTables = Object.keys(forgettable(empty)) as ExpiringTable[]

/** Deletes at most `limit` rows older than `keepDays`. Returns the number deleted. Small batches do not block writers. */
export async function deleteExpiredRows(
  database: Database,
  { table, keepDays, limit = 5_000 }: { table: ExpiringTable; keepDays: number; limit?: number },
): Promise<number> {
  const before = sql`(now() - make_interval(days => ${keepDays}::integer))`
  const rows = await database.query(sql`
    delete from ${raw(table)} where ctid = any(array(
      select old.ctid from ${raw(table)} as old where ${forgettable(before)[table]} limit ${limit}))
    returning 1`)
  return rows.length
}
