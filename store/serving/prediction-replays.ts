/**
 * Stores log rows whose request may be repeated on another replica at the same time. The primary key contains the time, so it does not
 * detect a repetition; a lock on the id does.
 */
import type pg from 'pg'
import type { Arm } from '../../domain/serving/route.ts'
import { splitTuples } from '../database/binary-copy.ts'
import { copyPredictionsAndCommit, storeInParts, type EncodedRows } from './prediction-log.ts'

/** The logged response to a request. */
export interface StoredPrediction {
  version: string
  arm: Arm
  generation: number
  instances: number
  features: Buffer
  outputs: number[]
  /** The layout of `features`; null for a version that is not registered, such as a constant fallback. */
  layout: LoggedColumn[] | null
}

export interface LoggedColumn {
  name: string
  kind: 'number' | 'category'
  /** Whether the feature is looked up where the caller does not send it. */
  looked_up: boolean
}

/** The id of a request, with the number that locks it. */
export interface LoggedId {
  /** 32 hexadecimal digits. */
  hex: string
  /** Its first eight bytes. */
  lock: bigint
}

/** A repetition is recognised for this long. A longer time would make every request search more days. */
export const repeatableHours = 48

/**
 * Stores those of the rows that are not in the log yet. `ids` are the ids of the rows, in the same order and all different. Returns the
 * logged responses of the other rows, by the id in hexadecimal digits, and the places of the rows whose content Postgres rejects.
 */
export async function storeOnce(
  client: pg.ClientBase,
  block: EncodedRows,
  ids: readonly LoggedId[],
): Promise<{ known: Map<string, StoredPrediction>; refused: number[] }> {
  let known = new Map<string, StoredPrediction>()
  const refused = await storeInParts(block, async ({ bytes, rows }, first) => {
    const found = await storeUnknown(client, bytes, ids.slice(first, first + rows))
    known = known.size === 0 ? found : new Map([...known, ...found])
  })
  return { known, refused }
}

async function storeUnknown(
  client: pg.ClientBase,
  block: Uint8Array,
  ids: readonly LoggedId[],
): Promise<Map<string, StoredPrediction>> {
  const named = ids.map(({ hex }) => hex)
  // In one global order: otherwise two replicas could deadlock.
  const locks = ids.map(({ lock }) => lock).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  try {
    // One message, because each costs a round trip while the locks are held. Contains only digits, so it needs no parameters. A custom
    // plan per group would cost more than its rows.
    await client.query(`begin; set local plan_cache_mode = force_generic_plan;
      select count(pg_advisory_xact_lock(key)) from unnest('{${locks.join(',')}}'::bigint[]) as key`)
    // A separate statement, whose snapshot contains the rows of the previous lock holders.
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

const columns = `encode(uuid_send(id), 'hex') as id, version, arm, generation, instances, features, outputs, (
  select jsonb_agg(jsonb_build_object('name', fit -> 'name', 'kind', fit -> 'kind',
    'looked_up', manifest #> array['features', fit ->> 'name', 'from'] is not null) order by place)
  from versions, jsonb_array_elements(manifest -> 'preprocessing') with ordinality as fits (fit, place)
  where versions.version = predictions.version) as layout`
/** A future day costs as much as one with rows, so future days are only searched when a replica with a wrong clock has written to one. */
const knownText = `
  select ${columns} from predictions
  where id = any ($1::uuid[]) and at > now() - make_interval(hours => ${repeatableHours}) and at < now() + interval '1 day'
  union all select ${columns} from predictions
  where id = any ($1::uuid[]) and at >= now() + interval '1 day'
    and exists (select from predictions where at >= now() + interval '1 day')`

type KnownRow = StoredPrediction & { id: string }
