/** Reads the state of a server's write-ahead log archive. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export interface ArchivingServer {
  systemId: string
  dataDir: string
  archives: boolean
}

/** Undefined for a role that does not own the server. */
export async function findArchivingServer(database: Database): Promise<ArchivingServer | undefined> {
  const [role] = await database.query<{ isOwner: boolean }>(
    sql`select rolsuper as "isOwner" from pg_roles where rolname = current_user`,
  )
  if (role?.isOwner !== true) return undefined
  return rowsFrom(database).find<ArchivingServer>(sql`
    select system_identifier::text as system_id, current_setting('data_directory') as data_dir,
      current_setting('archive_mode') = 'on' as archives from pg_control_system()`)
}

/**
 * Wakes the process of Postgres that completes log files in time. At the start it computes its sleep before the server accepts
 * writes, and would complete the first file only at the next checkpoint, minutes later. Reading the configuration again would wake it too,
 * but logs an error for each setting that the command line overrides.
 */
export const wakeArchiving = async (database: Database): Promise<void> =>
  void (await database.query(sql`checkpoint`))

/**
 * Ends the log file in use, so that Postgres archives it now. Returns its name; if nothing was written since the former one ended, that of
 * the former one.
 */
export const endLogFile = async (database: Database): Promise<string | undefined> =>
  rowsFrom(database).value<string>(sql`select pg_walfile_name(pg_switch_wal())`)

/** Eight hexadecimal digits, the prefix of log file names. */
export const findTimeline = async (database: Database): Promise<string | undefined> =>
  rowsFrom(database).value<string>(
    sql`select lpad(upper(to_hex(timeline_id)), 8, '0') from pg_control_checkpoint()`,
  )

/** The times at which Postgres last archived a file and last failed to: ISO texts, which sort. */
export async function readArchiver(database: Database): Promise<{ archivedAt?: string; failedAt?: string }> {
  const [found] = await database.query<{ archived: Date | null; failed: Date | null }>(sql`
    select last_archived_time as archived, last_failed_time as failed from pg_stat_archiver`)
  return { archivedAt: found?.archived?.toISOString(), failedAt: found?.failed?.toISOString() }
}
