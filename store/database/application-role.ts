/**
 * Opens the roles of the processes and of external queries. The owner of the tables can change any row, so it only runs migrations; the
 * application role can append to and read the audit log, but not change it.
 */
import pg from 'pg'
import sql from 'sql-template-tag'
import { readerRole, scopedRole, type Database } from '../postgres.ts'

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

/**
 * How this connection could rewrite the audit log, what an external query could do, and what a key of some models could reach or fails to
 * reach, as texts; empty when the roles are as they should be.
 */
export async function findRoleWeaknesses(database: Database): Promise<string[]> {
  const found = [
    await findAuditWeakness(database),
    await findReaderWeakness(database),
    await findScopeWeakness(database),
  ]
  return found.filter((each) => each !== undefined)
}

async function findScopeWeakness(database: Database): Promise<string | undefined> {
  const [role] = await database.query<{
    bypasses: boolean
    others: string
    mayBecome: boolean
    name: string
  }>(sql`
    select rolsuper or rolbypassrls as bypasses, pg_has_role(current_user, oid, 'member') as "mayBecome", current_user as name,
      (select coalesce(string_agg(rolname, ', ' order by rolname), '') from pg_roles as other
        where other.oid <> role.oid and pg_has_role(role.oid, other.oid, 'member')) as others
    from pg_roles as role where rolname = ${scopedRole}`)
  const fails = 'so that requests with a key of some models fail'
  if (role === undefined)
    return `the role ${scopedRole} does not exist, ${fails}; create it by deploy/postgres/roles.sql and restore a backup into a new database`
  if (role.bypasses)
    return `the role ${scopedRole} is exempt from row-level security, so that a key of some models has the rows of all; run "alter role ${scopedRole} nosuperuser nobypassrls"`
  if (role.others !== '')
    return `the role ${scopedRole} has the privileges of ${role.others}, so that a key of some models may have the rows of others; run "revoke ${role.others} from ${scopedRole}"`
  if (!role.mayBecome)
    return `the role ${role.name} of the processes may not become ${scopedRole}, ${fails}; run "grant ${scopedRole} to ${role.name}"`
  const [tables] = await database.query<{ limited: number; open: string | null; closed: string | null }>(sql`
    select count(*) filter (where "isLimited")::int as limited,
      string_agg(name, ', ' order by name) filter (where "isOpen") as open,
      string_agg(name, ', ' order by name) filter (where "isLimited" and not "isRead") as closed
    from (select *,
        "isOwned" or "isEmptied" or "isWidened" or case
          when "isLimited" then name = any (array['audit', 'service_state']) and "isChanged"
          when note like 'read by every key: %' then "isWritten"
          else "isRead" or "isWritten" end as "isOpen"
      from (select relname::text as name, obj_description(oid, 'pg_class') as note,
          has_table_privilege(${scopedRole}, oid, 'select') as "isRead",
          has_table_privilege(${scopedRole}, oid, 'insert, update, delete') as "isWritten",
          has_table_privilege(${scopedRole}, oid, 'update, delete') as "isChanged",
          has_table_privilege(${scopedRole}, oid, 'truncate') as "isEmptied",
          relowner = ${scopedRole}::regrole as "isOwned",
          relrowsecurity and exists (select from pg_policy where polrelid = pg_class.oid and polname = 'rows_of_models') as "isLimited",
          exists (select from pg_policy where polrelid = pg_class.oid and polpermissive
            and polname not in ('rows_of_models', 'validated_by_models')
            and polroles && array[0, ${scopedRole}::regrole]::oid[]) as "isWidened"
        from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and (relispartition
          or exists (select from pg_policy where polrelid = pg_class.oid and polname = 'rows_of_models')
          or obj_description(oid, 'pg_class') ~ '^(read by every key|hidden from keys of some models): ')) as found) as judged`)
  if (tables!.limited === 0)
    return `this database was migrated without the role ${scopedRole}, ${fails}; restore a backup into a new database`
  if (tables!.open !== null)
    return `a key of some models reaches the rows of others in ${tables!.open}; let ${scopedRole} have what migrations/0021_scopes.sql grants, and no other policy`
  return tables!.closed === null
    ? undefined
    : `the role ${scopedRole} may not read ${tables!.closed}, ${fails}; run "grant select, insert, update, delete on ${tables!.closed} to ${scopedRole}"`
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
