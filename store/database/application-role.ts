/**
 * Opens the role of the processes. The owner of the tables can change any row, so it only migrates; this role may append to and read the
 * audit log, but not change it.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import type { Database } from '../postgres.ts'

export const applicationRole = 'tenure_app'

/** Lets the role in, with a password where one is asked for. Answers whether there is such a role. */
export async function openApplicationRole(ownerUrl: string, password?: string): Promise<boolean> {
  const client = new pg.Client({
    connectionString: ownerUrl,
    connectionTimeoutMillis: 10_000,
    query_timeout: 30_000,
  })
  await client.connect()
  try {
    const { rowCount } = await client.query('select from pg_roles where rolname = $1', [applicationRole])
    if (rowCount === 0) return false
    const secret = password === undefined ? '' : ` password ${pg.escapeLiteral(password)}`
    await client.query(`alter role ${applicationRole} login${secret}`)
    return true
  } finally {
    await client.end()
  }
}

/** How this connection could rewrite the audit, in words; nothing when Postgres would refuse it. */
export async function findAuditWeakness(database: Database): Promise<string | undefined> {
  const [found] = await database.query<{ role: string; may: boolean; guarded: boolean }>(sql`
    select current_user as role,
      has_table_privilege('audit', 'update') or has_table_privilege('audit', 'delete')
        or has_table_privilege('audit', 'truncate')
        or pg_has_role(current_user, (select relowner from pg_class where oid = 'audit'::regclass), 'usage') as may,
      exists (select from pg_trigger where tgrelid = 'audit'::regclass and tgname = 'audit_is_append_only' and tgenabled = 'A')
        as guarded`)
  if (found === undefined || (!found.may && found.guarded)) return undefined
  if (!found.guarded) return 'the trigger that keeps the audit from being rewritten is gone or switched off'
  return (
    `the role ${found.role} of the processes could take the trigger away that keeps the audit from being rewritten; ` +
    `give them ${applicationRole} in DATABASE_URL, and the owner in TENURE_OWNER_DATABASE_URL`
  )
}
