/**
 * The keys of people who sign in elsewhere. Whatever is decided by key, role and scope is then decided for them in the same way, and
 * nobody, not even they, knows the secret: such a key opens sessions and nothing else.
 */
import sql from 'sql-template-tag'
import type { Role } from '../../domain/roles.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { insertKey, revokeKey } from './api-keys.ts'
import type { Store } from '../postgres.ts'

/** What the names of such keys begin with, so that nobody who signs in elsewhere becomes somebody here. */
export const ssoPrefix = 'sso.'

/** The id of the person's key; made, or made anew when the role is another than before. */
export async function ensureSsoKey(
  store: Store,
  { name, role }: { name: string; role: Role },
): Promise<string> {
  const full = `${ssoPrefix}${name}`
  return store.transaction(async (database) => {
    await database.query(sql`select pg_advisory_xact_lock(hashtext('person keys'), hashtext(${full}))`)
    const [held] = await database.query<{ id: string; role: Role }>(
      sql`select id, role from api_keys where name = ${full} and revoked_at is null`,
    )
    if (held?.role === role) return held.id
    const audit = (action: string, subject: string, was: Role) =>
      appendAudit(database, { actor: full, action, subject, detail: { name: full, role: was } })
    if (held !== undefined) {
      await revokeKey(database, held.id)
      await audit('key.revoked', held.id, held.role)
    }
    const { facts } = await insertKey(database, { name: full, role })
    await audit('key.created', facts.id, role)
    return facts.id
  })
}
