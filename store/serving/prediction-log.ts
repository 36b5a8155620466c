/**
 * Encodes and stores the rows of the prediction log. A row is encoded in Postgres' binary COPY format while the request is served; this
 * takes a microsecond and leaves nothing to convert later.
 */
import type pg from 'pg'
import type { Arm, LoggedArm } from '../../domain/serving/route.ts'
import { copyIn, splitTuples } from '../database/binary-copy.ts'
import { entryText, type Entry } from './log-accounts.ts'

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

/** Stores rows that Postgres has certainly not received before, all or none, with their account entry when one is given. */
export async function copyPredictions(
  client: pg.ClientBase,
  blocks: readonly Uint8Array[],
  entry?: Entry,
): Promise<void> {
  await copyIn(client, entry === undefined ? copyText : `${copyText}; ${entryText(entry)}`, blocks)
}

/** Ends the open transaction with these rows, in one round trip. */
export async function copyPredictionsAndCommit(client: pg.ClientBase, block: Uint8Array): Promise<void> {
  await copyIn(client, `${copyText}; commit`, [block])
}

/** Removes rows from the table `arrived` that must not be stored. Returns the number removed. */
export type ErasureFilter = (client: pg.ClientBase) => Promise<number>

/**
 * Stores rows of which an earlier attempt, whose response was lost, may have stored some. Every row is stored once, and entered once in
 * the account when one is given. Returns how many rows were not stored, because Postgres rejects their content or the filter removed
 * them.
 */
export async function storePredictions(
  client: pg.ClientBase,
  block: Uint8Array,
  account?: string,
  erasureFilter?: ErasureFilter,
): Promise<number> {
  try {
    return await copyOnce(client, [block], account, erasureFilter)
  } catch (error) {
    if (!isRefusal(error)) throw error
    const tuples = splitTuples(block)
    if (tuples.length === 1) return 1
    const middle = byteLengthOf(tuples.slice(0, tuples.length >> 1))
    const first = await storePredictions(client, block.subarray(0, middle), account, erasureFilter)
    return first + (await storePredictions(client, block.subarray(middle), account, erasureFilter))
  }
}

async function copyOnce(
  client: pg.ClientBase,
  blocks: readonly Uint8Array[],
  account: string | undefined,
  erasureFilter: ErasureFilter | undefined,
): Promise<number> {
  await client.query('begin')
  try {
    const { stored, sifted } = await insertPredictions(client, blocks, erasureFilter)
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
export function isRefusal(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^(22|54)/.test(code)
}

/** Whether a row is already stored (SQLSTATE unique_violation). */
export const isKnown = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === '23505'

const byteLengthOf = (parts: readonly Uint8Array[]): number =>
  parts.reduce((sum, part) => sum + part.byteLength, 0)

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
