/**
 * Stores log rows whose request may be repeated on another replica at the same time. The primary key contains the time, so it does not
 * catch a repetition; a lock on the id does.
 */
import type pg from 'pg'
import type { Arm } from '../../domain/serving/route.ts'
import { splitTuples } from '../database/binary-copy.ts'
import { copyPredictions } from './prediction-log.ts'

/** What was answered to a request that is in the log. */
export interface StoredPrediction {
  version: string
  arm: Arm
  generation: number
  instances: number
  features: Buffer
  outputs: number[]
}

/** For so long a repetition is known to be one. Longer, and every request would look through more days. */
export const repeatableHours = 48

/**
 * Stores those of the rows that are not in the log yet, all or none; the ids are theirs, row by row and all different. Answers
 * what is in the log of the others, by the id in hexadecimal digits.
 */
export async function storeOnce(
  client: pg.ClientBase,
  block: Uint8Array,
  ids: readonly Uint8Array[],
): Promise<Map<string, StoredPrediction>> {
  const named = ids.map((id) => Buffer.from(id))
  await client.query('begin')
  try {
    // In one order everywhere: two replicas that lock each other out would wait for ever.
    const locks = named.map((id) => id.readBigInt64BE(0)).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    await client.query('select pg_advisory_xact_lock(key) from unnest($1::bigint[]) as key', [
      locks.map(String),
    ])
    // A statement of its own: its snapshot has the rows of those that held the locks.
    const { rows } = await client.query<KnownRow>(
      `select encode(uuid_send(id), 'hex') as id, version, arm, generation, instances, features, outputs
       from predictions
       where id = any ($1::uuid[]) and at > now() - make_interval(hours => ${repeatableHours})`,
      [named.map((id) => id.toString('hex'))],
    )
    const known = new Map(rows.map(({ id, ...stored }) => [id, stored]))
    const fresh =
      known.size === 0
        ? block
        : Buffer.concat(splitTuples(block).filter((_tuple, row) => !known.has(named[row]!.toString('hex'))))
    if (fresh.byteLength > 0) await copyPredictions(client, [fresh])
    await client.query('commit')
    return known
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

type KnownRow = StoredPrediction & { id: string }
