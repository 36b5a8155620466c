/**
 * Stores the state of the scheduled backups, and raises an alert when one failed or none is recent. The API checks, because a stopped
 * backup process cannot report itself.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { rowsFrom } from '../database/from-row.ts'
import { writeServiceState } from '../database/key-value.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert, type NewAlert } from '../monitoring/alerts.ts'
import type { Database, Store } from '../postgres.ts'
import { repeatRounds, type Repeated } from './worker-heartbeats.ts'

/** The parts that can fail separately. */
export const backupParts = ['backup', 'verification', 'base', 'log'] as const
export type BackupPart = (typeof backupParts)[number]

export interface BackupState {
  /** The destination of the backups. */
  to: string
  everyMs: number
  /** The time at which the schedule began. */
  since: string
  newest?: { file: string; takenAt: string; bytes: number }
  /** The last backup that was verified. */
  verified?: { file: string; at: string }
  /** The period in which every moment can be restored. */
  log?: { from: string; to: string }
  failures: Partial<Record<BackupPart, { at: string; message: string }>>
}

export interface FoundBackups extends BackupState {
  /** The age of the newest backup; without one, the time since the schedule began. */
  ageMs: number
  /** The age of the newest moment that can be restored; absent when the log is not archived. */
  logAgeMs?: number
  /** The time since the last heartbeat of the backup process. */
  silentMs: number
}

const name = 'backups'

export const writeBackupState = (database: Database, state: BackupState): Promise<void> =>
  writeServiceState(database, name, state)

/** Undefined when no backups are scheduled. */
export async function findBackupState(database: Database): Promise<FoundBackups | undefined> {
  const age = (at: Sql) => sql`extract(epoch from clock_timestamp() - (${at})::timestamptz)::float8 * 1000`
  const found = await rowsFrom(database).find<{
    state: BackupState
    ageMs: number
    logAgeMs?: number
    silentMs: number
  }>(sql`
    select value as state, ${age(sql`coalesce(value -> 'newest' ->> 'takenAt', value ->> 'since')`)} as age_ms,
      ${age(sql`value -> 'log' ->> 'to'`)} as log_age_ms, ${age(sql`at`)} as silent_ms
    from service_state where name = ${name}`)
  return found && { ...found.state, ageMs: found.ageMs, logAgeMs: found.logAgeMs, silentMs: found.silentMs }
}

/** Deletes the state when backups are no longer scheduled, so that none counts as late. */
export const forgetBackupState = async (database: Database): Promise<void> =>
  void (await database.query(sql`delete from service_state where name = ${name}`))

/** A backup takes time, and a failed one may be retried. */
export const lateAfterMs = ({ everyMs }: Pick<BackupState, 'everyMs'>): number => everyMs * 1.5
/** The backup process writes its state four times in this time. */
export const silentAfterMs = 60_000
/** Half of the period that an installation may lose. */
export const logLateAfterMs = 120_000

const kinds: AlertKind[] = ['backup_failed', 'backup_late']

/** The alerts for problems of the backups. */
export function alertsOfBackups(found: FoundBackups | undefined): NewAlert[] {
  if (found === undefined) return []
  const { to, ageMs, silentMs, logAgeMs = 0, newest, failures } = found
  const alerts: NewAlert[] = backupParts.flatMap((part): NewAlert[] => {
    const failed = failures[part]
    if (failed === undefined) return []
    const evidence = { part, since: failed.at, to }
    return [
      {
        dedupeKey: `backup_failed/${part}`,
        kind: 'backup_failed',
        severity: 'critical',
        message: `${failureOf[part]} ${to} failed: ${failed.message}`,
        evidence,
      },
    ]
  })
  const late = (message: string): void => {
    alerts.push({
      dedupeKey: 'backup_late',
      kind: 'backup_late',
      severity: 'critical',
      message,
      evidence: { to, newest: newest?.file },
    })
  }
  if (silentMs > silentAfterMs)
    late(
      `The process that writes backups to ${to} has sent no heartbeat for ${Math.round(silentMs / 1_000)} s. No backup is taken. Start it: \`tenure up\`, or \`tenure backup run\`.`,
    )
  else if (ageMs > lateAfterMs(found))
    late(
      `The newest backup in ${to} is ${hours(ageMs)} old, and one is due every ${hours(found.everyMs)}: ${newest?.file ?? 'no backup was taken yet'}.`,
    )
  else if (logAgeMs > logLateAfterMs)
    late(`What was written in the last ${Math.round(logAgeMs / 1_000)} s is not yet in ${to}.`)
  return alerts
}

const failureOf: Record<BackupPart, string> = {
  backup: 'The backup to',
  verification: 'The verification of the newest backup in',
  base: 'The copy of the data directory to',
  log: 'The copy of the write-ahead log and of new artifacts to',
}

const hours = (ms: number): string => `${(ms / 3_600_000).toFixed(1)} h`

export interface BackupWatch extends Repeated {
  /** The state at the last check; undefined before it, and when no backups are scheduled. */
  found(): FoundBackups | undefined
}

export function watchBackups(
  store: Store,
  onError: (error: unknown) => void,
  { everyMs = 15_000 }: { everyMs?: number } = {},
): BackupWatch {
  let found: FoundBackups | undefined
  const look = async () => {
    found = await findBackupState(store)
    const alerts = alertsOfBackups(found)
    for (const alert of alerts) await upsertAlert(store, alert)
    const raised = new Set(alerts.map(({ dedupeKey }) => dedupeKey))
    for (const key of await listOpenAlertKeys(store, kinds))
      if (!raised.has(key))
        await resolveAlert(store, key, 'the last check has found the backups in time and verified')
  }
  return { ...repeatRounds(look, { everyMs, atOnce: false, onError }), found: () => found }
}
