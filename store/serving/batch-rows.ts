/** Encodes the predictions of a batch shard for COPY and stores them together with the shard, or not at all. */
import sql from 'sql-template-tag'
import type { BatchShard } from './batches.ts'
import { copyIn } from '../database/binary-copy.ts'
import { rethrow, type Store } from '../postgres.ts'

export interface BatchRow {
  /** The index of the row in the input. */
  row: number
  key: Record<string, unknown>
  outputs: number[] | null
  /** The text of the decision; null for a number, which needs none. */
  answer: string | null
  /** Whether a person must review it; null without a prediction or a band. */
  review: boolean | null
  problem: string | null
}

const float4Oid = 700
/** The version byte of a binary jsonb value. */
const jsonVersion = 1

/** Stores a shard with its rows. False when the shard is already stored. */
export async function storeShard(
  store: Store,
  id: string,
  each: BatchShard,
  rows: readonly BatchRow[],
): Promise<boolean> {
  const client = await store.pool.connect().catch(rethrow)
  let broken: Error | undefined
  try {
    await client.query('begin')
    const { text, values } = sql`
      insert into batch_shards (batch_id, shard, rows, refused, for_review)
      values (${id}, ${each.shard}, ${each.rows}, ${each.refused}, ${each.forReview ?? null})
      on conflict do nothing returning shard`
    const { rowCount } = await client.query(text, values)
    if (rowCount === 0) return false
    const statement =
      'copy batch_predictions (batch_id, row, key, outputs, answer, review, problem) from stdin (format binary)'
    for (let at = 0; at < rows.length; at += rowsAtOnce)
      await copyIn(client, statement, [encoded(id, rows.slice(at, at + rowsAtOnce))])
    await client.query('commit')
    return true
  } catch (error) {
    return rethrow(error)
  } finally {
    // After a commit, Postgres reports that there is nothing to roll back.
    await client.query('rollback').catch((failure: Error) => (broken = failure))
    client.release(broken)
  }
}

const rowsAtOnce = 20_000

function encoded(id: string, rows: readonly BatchRow[]): Buffer {
  const name = Buffer.from(id)
  const parts: Buffer[] = []
  for (const { row, key, outputs, answer, review, problem } of rows) {
    const head = Buffer.alloc(2)
    head.writeInt16BE(7)
    const place = Buffer.alloc(8)
    place.writeBigInt64BE(BigInt(row))
    parts.push(head, ...field(name), ...field(place), ...field(json(key)))
    parts.push(...field(outputs === null ? null : floats(outputs)))
    parts.push(
      ...field(answer === null ? null : json(answer)),
      ...field(review === null ? null : Buffer.from([Number(review)])),
      ...field(problem === null ? null : Buffer.from(problem)),
    )
  }
  return Buffer.concat(parts)
}

function field(bytes: Buffer | null): Buffer[] {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes?.byteLength ?? -1)
  return bytes === null ? [length] : [length, bytes]
}

const json = (value: unknown): Buffer =>
  Buffer.concat([Buffer.from([jsonVersion]), Buffer.from(JSON.stringify(value))])

/** real[] of one dimension: dimensions, has-null flag, element type, size, lower bound, then each with its length. */
function floats(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(20 + values.length * 8)
  for (const [place, value] of [1, 0, float4Oid, values.length, 1].entries())
    bytes.writeInt32BE(value, place * 4)
  values.forEach((value, index) => {
    bytes.writeInt32BE(4, 20 + index * 8)
    bytes.writeFloatBE(value, 24 + index * 8)
  })
  return bytes
}
