/**
 * Creates API keys for users who sign in through single sign-on, so that key, role and scope rules apply to them unchanged. The secret
 * of such a key is never shown: it opens sessions only.
 */
import sql from 'sql-template-tag'
import type { Role } from '../../domain/roles.ts'
import { appendAudit } from '../audit/audit-log.ts'
import { insertKey, revokeKey } from './api-keys.ts'
import type { Store } from '../postgres.ts'

/** Prefix of the names of such keys, so that an SSO user cannot take the name of another key. */
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
