/**
 * Stores API keys only as SHA-256 hashes, so that a copy of the database gives no access. A secret has 192 random bits, so a plain hash
 * suffices. A renewed key keeps its id, so that the audit log names one owner across secrets.
 */
import { createHash, randomBytes } from 'node:crypto'
import sql, { type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { isPartName, type Role } from '../../domain/roles.ts'
import * as schema from '../../domain/schema.ts'
import { appendAudit, type Transaction } from '../audit/audit-log.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database, Store } from '../postgres.ts'

export const keyRow = schema.record(
  { id: schema.text, name: schema.text, role: schema.textOf<Role>(), createdAt: schema.time },
  {
    /** The models that the key may access. Absent: all models. */
    models: schema.list(schema.text),
    expiresAt: schema.time,
    revokedAt: schema.time,
    /** Until when the secret before the last renewal is also valid. */
    previousUntil: schema.time,
    lastUsedAt: schema.time,
    /** The rate limit at each replica: a bucket of `burst` requests that refills at `requestsPerSecond`. Absent: no limit. */
    requestsPerSecond: schema.count,
    burst: schema.count,
  },
)
export type KeyFacts = schema.TypeOf<typeof keyRow>

/** A valid key, as replicas cache it. */
export interface ActiveKey extends Pick<KeyFacts, 'id' | 'name' | 'role' | 'models'> {
  /** Hexadecimal SHA-256 of the whole key. */
  hash: string
  expiresAtMs?: number
  /** The secret before the last renewal, while it is valid. */
  previous?: { hash: string; untilMs: number }
  rate?: KeyRate
}

export type KeyRate = Required<Pick<KeyFacts, 'requestsPerSecond' | 'burst'>>

export interface NewKey extends Pick<KeyFacts, 'name' | 'role' | 'expiresAt'> {
  models?: readonly string[]
  rate?: KeyRate
}

const factColumns = sql`id, name, role, models, created_at, expires_at, revoked_at, previous_until, last_used_at, requests_per_second, burst`

const newSecret = (id: string): string => `tnr_${id}_${randomBytes(24).toString('hex')}`

export const hashOfKey = (key: string): Buffer => createHash('sha256').update(key).digest()

/** The id inside a key, which is not secret. Undefined when the text is not a key of Tenure. */
export function idOfKey(key: string): string | undefined {
  return /^tnr_([0-9a-f]{12})_[0-9a-f]{48}$/.exec(key)?.[1]
}

/** Returns the key itself, which cannot be read again. Throws `invalid_request` when a key that is not revoked, or a system actor, has the name. */
export async function insertKey(
  database: Database,
  input: NewKey,
): Promise<{ key: string; facts: KeyFacts }> {
  if (isPartName(input.name))
    throw new DomainError('invalid_request', `a part of the system is named ${JSON.stringify(input.name)}`)
  const id = randomBytes(6).toString('hex')
  const key = newSecret(id)
  const facts = await writeKey(
    database,
    sql`insert into api_keys (id, name, hash, role, models, expires_at, requests_per_second, burst)
      values (${id}, ${input.name}, ${hashOfKey(key)}, ${input.role}, ${input.models ?? null}, ${input.expiresAt ?? null},
        ${input.rate?.requestsPerSecond ?? null}, ${input.rate?.burst ?? null})
      on conflict (name) where revoked_at is null do nothing`,
  )
  if (facts === undefined)
    throw new DomainError(
      'invalid_request',
      `a key that is not revoked is named ${JSON.stringify(input.name)} already`,
      {
        remedy: `Choose another name, or revoke that key, which may have expired: \`tenure keys revoke ${input.name}\`.`,
      },
    )
  return { key, facts }
}

/** Writes a key and notifies the replicas. Undefined when the statement writes none. */
const writeKey = (database: Database, statement: Sql) =>
  rowsFrom(database).find<KeyFacts>(sql`
    with written as (${statement} returning ${factColumns})
    select written.* from written, pg_notify('tenure_keys', id)`)

export const listKeys = (database: Database) =>
  rowsFrom(database).list<KeyFacts>(sql`select ${factColumns} from api_keys order by created_at, id`)

/** Throws `not_found` when no key has the id. A key that is already revoked keeps its time of revocation. */
export async function revokeKey(database: Database, id: string): Promise<KeyFacts> {
  const revoked = await writeKey(
    database,
    sql`update api_keys set revoked_at = coalesce(revoked_at, now()) where id = ${id}`,
  )
  if (revoked === undefined) throw new DomainError('not_found', `no key has the id ${JSON.stringify(id)}`)
  return revoked
}

/** Changes role, scope, expiry and rate of an active key; its secret stays. Throws `not_found` for any other key. */
export async function changeKey(
  database: Database,
  id: string,
  { role, models, expiresAt, rate }: Omit<NewKey, 'name'>,
): Promise<KeyFacts> {
  const changed = await writeKey(
    database,
    sql`update api_keys set role = ${role}, models = ${models ?? null}, expires_at = ${expiresAt ?? null},
        requests_per_second = ${rate?.requestsPerSecond ?? null}, burst = ${rate?.burst ?? null}
      where id = ${id} and revoked_at is null`,
  )
  if (changed === undefined)
    throw new DomainError('not_found', `no active key has the id ${JSON.stringify(id)}`)
  return changed
}

/**
 * Gives a key a new secret and answers it, once; the one that services use opens for `overlapMs` more, so that they can change over without an
 * outage: during an overlap that is the one before, because the newer secret may have been lost with its answer. Throws `not_found`
 * when no active key has the id, and `command_refused` when another rotation of the same moment was first.
 */
export async function rotateKey(
  database: Database,
  { id, overlapMs }: { id: string; overlapMs: number },
): Promise<{ key: string; facts: KeyFacts }> {
  const key = newSecret(id)
  const [now] = await database.query<{ hash: Buffer }>(sql`
    select hash from api_keys
    where id = ${id} and revoked_at is null and (expires_at is null or expires_at > now())`)
  if (now === undefined)
    throw new DomainError(
      'not_found',
      `there is no key with the id ${JSON.stringify(id)} that is neither revoked nor expired`,
      {
        remedy:
          'Read the state of the keys with `tenure keys`; in place of an expired key, revoke it and create another.',
      },
    )
  const facts = await writeKey(
    database,
    sql`update api_keys set hash = ${hashOfKey(key)}, previous_until = now() + ${overlapMs} * interval '1 ms',
        previous_hash = case when previous_until > now() then previous_hash else hash end
      where id = ${id} and hash = ${now.hash} and revoked_at is null`,
  )
  if (facts === undefined)
    throw new DomainError('command_refused', 'another request has rotated or revoked the key at this moment')
  return { key, facts }
}

export const findActiveKeys = (database: Database) =>
  rowsFrom(database).list<ActiveKey>(prepared`
    select id, name, role, models, encode(hash, 'hex') as hash, floor(extract(epoch from expires_at) * 1000)::float8 as expires_at_ms,
      case when previous_until > now() then jsonb_build_object('hash', encode(previous_hash, 'hex'),
        'untilMs', floor(extract(epoch from previous_until) * 1000)) end as previous,
      case when burst is not null then jsonb_build_object('requestsPerSecond', requests_per_second, 'burst', burst) end as rate
    from api_keys
    where revoked_at is null and (expires_at is null or expires_at > now()) order by id`)

/** The key with this id, if it was valid at this time, in milliseconds. */
export const findKeyAt = (database: Database, { id, atMs }: { id: string; atMs: number }) =>
  rowsFrom(database).find<Pick<ActiveKey, 'id' | 'name' | 'role' | 'models'>>(sql`
    select id, name, role, models from api_keys
    where id = ${id} and coalesce(revoked_at > to_timestamp(${atMs / 1_000}), true)
      and coalesce(expires_at > to_timestamp(${atMs / 1_000}), true)`)

/**
 * Creates the first admin key of a new database and returns it, once; undefined when a key has ever existed. `made` holds the keys of
 * failed attempts by id, because Postgres may have stored one although the attempt failed.
 */
export async function ensureAdminKey(
  store: Store,
  made = new Map<string, string>(),
): Promise<string | undefined> {
  return store.transaction(async (database) => {
    await database.query(sql`select pg_advisory_xact_lock(hashtext('tenure_admin_key'))`)
    const [found] = await database.query<{ id: string }>(
      sql`select id from api_keys where role = 'admin' order by created_at limit 1`,
    )
    if (found !== undefined) return made.get(found.id)
    const { key, facts } = await insertKey(database, { name: 'admin', role: 'admin' })
    await auditKey(database, 'key.created', facts)
    made.set(facts.id, key)
    return key
  })
}

/** Records what an installation does with a key by itself. Call it in the transaction of the change. */
export const auditKey = (
  database: Transaction,
  action: 'key.created' | 'key.revoked',
  { id, name, role }: Pick<KeyFacts, 'id' | 'name' | 'role'>,
  actor = 'system',
) => appendAudit(database, { actor, action, subject: id, detail: { name, role } })

// Stores when keys were used, and finds secrets that open nothing any more and are still used.

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
