/**
 * Opens the roles of the processes and of external queries. The owner of the tables can change any row, so it only runs migrations; the
 * application role can append to and read the audit log, but not change it.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import { readerRole, type Database } from '../postgres.ts'

export const applicationRole = 'tenure_app'

/** Sets the passwords of the roles. Returns whether the roles exist. */
export async function openRoles(
  ownerUrl: string,
  passwords: { application?: string; reader?: string } = {},
): Promise<boolean> {
  const client = new pg.Client({
    connectionString: ownerUrl,
    connectionTimeoutMillis: 10_000,
    query_timeout: 30_000,
  })
  await client.connect()
  try {
    const roles = { [applicationRole]: passwords.application, [readerRole]: passwords.reader }
    const { rowCount } = await client.query('select from pg_roles where rolname = any ($1)', [
      Object.keys(roles),
    ])
    if (rowCount !== 2) return false
    for (const [role, password] of Object.entries(roles)) {
      const secret = password === undefined ? '' : ` password ${pg.escapeLiteral(password)}`
      await client.query(`alter role ${role} login${secret}`)
    }
    return true
  } finally {
    await client.end()
  }
}

/** How this connection could rewrite the audit log, and what an external query could do, as texts; empty when Postgres prevents both. */
export async function findRoleWeaknesses(database: Database): Promise<string[]> {
  const found = [await findAuditWeakness(database), await findReaderWeakness(database)]
  return found.filter((each) => each !== undefined)
}

async function findReaderWeakness(database: Database): Promise<string | undefined> {
  const [role] = await database.query<{ super: boolean; locks: boolean; keys: boolean }>(sql`
    select rolsuper as super, has_function_privilege(oid, 'pg_advisory_lock(bigint)', 'execute') as locks,
      has_table_privilege(oid, 'api_keys', 'select') as keys
    from pg_roles where rolname = ${readerRole}`)
  if (role === undefined)
    return `the role ${readerRole} does not exist, so that no batch and no source can run a query; create it, or name another role in TENURE_READER_DATABASE_URL`
  if (role.super || role.keys)
    return `the role ${readerRole} can read api_keys, which must not be granted to it`
  return role.locks
    ? `queries of batches and sources may take locks that Tenure waits for; let a superuser run deploy/postgres/include/reader.sql in this database`
    : undefined
}

/** How this connection could rewrite the audit log, as text; undefined when Postgres prevents it. */
async function findAuditWeakness(database: Database): Promise<string | undefined> {
  const [found] = await database.query<{ role: string; may: boolean; guarded: boolean }>(sql`
    select current_user as role,
      has_table_privilege('audit', 'update') or has_table_privilege('audit', 'delete')
        or has_table_privilege('audit', 'truncate')
        or pg_has_role(current_user, (select relowner from pg_class where oid = 'audit'::regclass), 'usage') as may,
      exists (select from pg_trigger where tgrelid = 'audit'::regclass and tgname = 'audit_is_append_only' and tgenabled = 'A')
        as guarded`)
  if (found === undefined || (!found.may && found.guarded)) return undefined
  if (!found.guarded) return 'the trigger that protects the audit log from changes is missing or disabled'
  return (
    `the role ${found.role} of the processes could drop the trigger that protects the audit log from changes; ` +
    `give them ${applicationRole} in DATABASE_URL, and the owner in TENURE_OWNER_DATABASE_URL`
  )
}
