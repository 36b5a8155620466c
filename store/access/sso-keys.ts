/**
 * Creates API keys for users who sign in through single sign-on, so that roles and scopes apply to them unchanged. The secret of such a
 * key is never shown; it only opens sessions.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Role } from '../../domain/roles.ts'
import { auditKey, insertKey, revokeKey } from './api-keys.ts'
import type { Database, Store } from '../postgres.ts'
import { rowsFrom } from '../database/from-row.ts'

/** The prefix of the names of such keys, so that an SSO user cannot take the name of another key. */
export const ssoPrefix = 'sso.'

/** A user as the identity provider asserts it. The subject identifies the user; the name may change or be given to another user. */
export interface SsoIdentity {
  issuer: string
  subject: string
  name: string
  role: Role
}

interface HeldKey {
  id: string
  name: string
  role: Role
  isOwn: boolean
  isExpired: boolean
}

/**
 * Returns the id of the user's key, which expires `keepDays` after the last sign-in. Replaces a key with another role or a previous name.
 * Throws `forbidden` while another user has the name.
 */
export async function ensureSsoKey(
  store: Store,
  { issuer, subject, name, role }: SsoIdentity,
  { keepDays }: { keepDays: number },
): Promise<string> {
  const full = `${ssoPrefix}${name}`
  return store.transaction(async (database) => {
    await database.query(sql`select pg_advisory_xact_lock(hashtext('person keys'))`)
    const rows = await database.query<HeldKey>(sql`
      select id, name, role, coalesce(sso_issuer = ${issuer} and sso_subject = ${subject}, false) as "isOwn",
        coalesce(expires_at <= now(), false) as "isExpired"
      from api_keys where revoked_at is null and (name = ${full} or (sso_issuer = ${issuer} and sso_subject = ${subject}))`)
    const usable = rows.find((each) => each.isOwn && each.name === full && each.role === role)
    for (const held of rows) {
      if (held === usable) continue
      if (!held.isOwn && !held.isExpired)
        throw new DomainError(
          'forbidden',
          `the name ${full} belongs to another user of the identity provider; an admin can revoke its key ${held.id}`,
        )
      await revokeKey(database, held.id)
      await auditKey(database, 'key.revoked', held, held.name)
    }
    const end = sql`now() + ${keepDays} * interval '1 day'`
    if (usable !== undefined) {
      await database.query(sql`
        with extended as (update api_keys set expires_at = ${end} where id = ${usable.id} returning id)
        select pg_notify('tenure_keys', id) from extended`)
      return usable.id
    }
    const { facts } = await insertKey(database, { name: full, role })
    await database.query(sql`
      update api_keys set sso_issuer = ${issuer}, sso_subject = ${subject}, expires_at = ${end} where id = ${facts.id}`)
    await auditKey(database, 'key.created', facts, full)
    return facts.id
  })
}

/** Revokes the keys of a user who has lost every role, and with them the sessions that they opened. */
export const revokeSsoKeys = (
  store: Store,
  { issuer, subject }: Pick<SsoIdentity, 'issuer' | 'subject'>,
): Promise<void> =>
  store.transaction(async (database) => {
    await database.query(sql`select pg_advisory_xact_lock(hashtext('person keys'))`)
    const rows = await database.query<HeldKey>(sql`
      select id, name, role from api_keys
      where revoked_at is null and sso_issuer = ${issuer} and sso_subject = ${subject}`)
    for (const held of rows) {
      await revokeKey(database, held.id)
      await auditKey(database, 'key.revoked', held, held.name)
    }
  })

/** Stores the dashboard sessions that users ended early. Every other session is valid by its signed cookie alone. */
export const isSessionRevoked = (database: Database, id: string) =>
  rowsFrom(database).any(sql`select 1 from revoked_sessions where id = ${id}`)

/** Ends a session, and deletes the rows of expired ones. */
export async function revokeSession(
  database: Database,
  { id, untilMs }: { id: string; untilMs: number },
): Promise<void> {
  await database.query(sql`
    with old as (delete from revoked_sessions where until < now() - interval '1 hour')
    insert into revoked_sessions (id, until) values (${id}, to_timestamp(${untilMs}::float8 / 1000))
    on conflict (id) do nothing`)
}
