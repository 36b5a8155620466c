/**
 * Stores log rows whose request may be repeated on another replica at the same time. The primary key contains the time, so it does not
 * catch a repetition; a lock on the id does.
 */
import type pg from 'pg'
import type { Arm } from '../../domain/serving/route.ts'
import { splitTuples } from '../database/binary-copy.ts'
import { copyPredictionsAndCommit } from './prediction-log.ts'

/** What was answered to a request that is in the log. */
export interface StoredPrediction {
  version: string
  arm: Arm
  generation: number
  instances: number
  features: Buffer
  outputs: number[]
}

/** An id as it is asked for, and the number that locks it. */
export interface LoggedId {
  /** 32 hexadecimal digits. */
  hex: string
  /** Its first eight bytes. */
  lock: bigint
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
  ids: readonly LoggedId[],
): Promise<Map<string, StoredPrediction>> {
  const named = ids.map(({ hex }) => hex)
  // In one order everywhere: two replicas that lock each other out would wait for ever.
  const locks = ids.map(({ lock }) => lock).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  try {
    // One message, because each costs a round trip while the locks are held. Digits only, so that no parameters are needed. A plan for each
    // group would cost more than its rows.
    await client.query(`begin; set local plan_cache_mode = force_generic_plan;
      select count(pg_advisory_xact_lock(key)) from unnest('{${locks.join(',')}}'::bigint[]) as key`)
    // A statement of its own: its snapshot has the rows of those that held the locks.
    const { rows } = await client.query<KnownRow>({
      name: 'known_predictions',
      text: knownText,
      values: [`{${named.join(',')}}`],
    })
    const known = new Map(rows.map(({ id, ...stored }) => [id, stored]))
    const fresh =
      known.size === 0
        ? block
        : Buffer.concat(splitTuples(block).filter((_tuple, row) => !known.has(named[row]!)))
    if (fresh.byteLength > 0) await copyPredictionsAndCommit(client, fresh)
    else await client.query('commit')
    return known
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

const columns = `encode(uuid_send(id), 'hex') as id, version, arm, generation, instances, features, outputs`
/** A day that is to come costs as much as one with rows, so those are only searched when a replica with a wrong clock has written to one. */
const knownText = `
  select ${columns} from predictions
  where id = any ($1::uuid[]) and at > now() - make_interval(hours => ${repeatableHours}) and at < now() + interval '1 day'
  union all select ${columns} from predictions
  where id = any ($1::uuid[]) and at >= now() + interval '1 day'
    and exists (select from predictions where at >= now() + interval '1 day')`

type KnownRow = StoredPrediction & { id: string }
