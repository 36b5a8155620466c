/** Stores when keys were used, and finds secrets that open nothing any more and are still used. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** A key that has been refused without an interruption of ten minutes. */
export interface RefusedKey {
  id: string
  name: string
  /** Why its secret opens nothing. */
  reason: 'revoked' | 'expired' | 'replaced'
  /** ISO 8601. */
  endedAt: string
  refusedSince: string
  refused: number
}

export interface KeyUse {
  /** The ids of keys that have opened a request. */
  used: readonly string[]
  /** Requests by the SHA-256 of a secret that opened none. */
  refused: ReadonlyMap<string, number>
}

/** Stores a replica's uses of some seconds. Returns the keys among the refused secrets; a secret that Tenure never issued is ignored. */
export async function storeKeyUse(database: Database, { used, refused }: KeyUse): Promise<RefusedKey[]> {
  if (used.length > 0)
    await database.query(sql`update api_keys set last_used_at = now() where id = any(${[...used]}::text[])`)
  if (refused.size === 0) return []
  return rowsFrom(database).list<RefusedKey>(sql`
    update api_keys set refused_at = now(),
      refused_since = case when refused_at > now() - interval '10 minutes' then refused_since else now() end,
      refused = case when refused_at > now() - interval '10 minutes' then refused else 0 end + requests
    from unnest(${[...refused.keys()]}::text[], ${[...refused.values()]}::bigint[]) as sent (secret, requests)
    where decode(secret, 'hex') in (hash, previous_hash)
      and (revoked_at is not null or expires_at <= now() or (decode(secret, 'hex') = previous_hash and previous_until <= now()))
    returning id, name, refused_since, refused,
      case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' else 'replaced' end as reason,
      coalesce(revoked_at, case when expires_at <= now() then expires_at end, previous_until) as ended_at`)
}

/** The open alerts about keys that have not been refused for ten minutes: those with this prefix before the id of the key. */
export const listQuietAlerts = (database: Database, prefix: string) =>
  rowsFrom(database).column<string>(sql`
    select dedupe_key from alerts join api_keys on dedupe_key = ${prefix} || api_keys.id
    where resolved_at is null and refused_at <= now() - interval '10 minutes'`)
