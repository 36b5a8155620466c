/**
 * Stores what the scheduled backups have come to, and raises an alert when one failed or none is recent. The API looks, because a process that
 * takes no backups cannot tell of itself.
 */
import sql, { type Sql } from 'sql-template-tag'
import type { AlertKind } from '../../domain/monitoring/alert-kinds.ts'
import { rowsFrom } from '../database/from-row.ts'
import { writeServiceState } from '../database/key-value.ts'
import { listOpenAlertKeys, resolveAlert, upsertAlert, type NewAlert } from '../monitoring/alerts.ts'
import type { Database, Store } from '../postgres.ts'
import { repeatRounds, type Repeated } from './worker-heartbeats.ts'

/** What can fail by itself. */
export const backupParts = ['backup', 'verification', 'base', 'log'] as const
export type BackupPart = (typeof backupParts)[number]

export interface BackupState {
  /** The place of the backups. */
  to: string
  everyMs: number
  /** When the schedule began. */
  since: string
  newest?: { file: string; takenAt: string; bytes: number }
  /** The last backup that was found to be good. */
  verified?: { file: string; at: string }
  /** The span of which every moment can be restored. */
  log?: { from: string; to: string }
  failures: Partial<Record<BackupPart, { at: string; message: string }>>
}

export interface FoundBackups extends BackupState {
  /** Of the newest backup; without one, since the schedule began. */
  ageMs: number
  /** Of what can be restored to the moment; absent where the log is not kept. */
  logAgeMs?: number
  /** Since the last sign of life of the process that takes them. */
  silentMs: number
}

const name = 'backups'

export const writeBackupState = (database: Database, state: BackupState): Promise<void> =>
  writeServiceState(database, name, state)

/** Undefined where no backups are scheduled. */
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

/** Backups are scheduled no more, so that none is late. */
export const forgetBackupState = async (database: Database): Promise<void> =>
  void (await database.query(sql`delete from service_state where name = ${name}`))

/** A backup takes its time, and the next one may be tried again after a failure. */
export const lateAfterMs = ({ everyMs }: Pick<BackupState, 'everyMs'>): number => everyMs * 1.5
/** The process that takes them writes its state four times in this time. */
export const silentAfterMs = 60_000
/** Of what an installation may lose, half. */
export const logLateAfterMs = 120_000

const kinds: AlertKind[] = ['backup_failed', 'backup_late']

/** What is wrong with the backups. */
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
      `The process that writes backups to ${to} has given no sign of life for ${Math.round(silentMs / 1_000)} s. No backup is taken. Start it: \`tenure up\`, or \`tenure backup run\`.`,
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
  /** As of the last look; undefined before, and where none are scheduled. */
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
      if (!raised.has(key)) await resolveAlert(store, key)
  }
  return { ...repeatRounds(look, { everyMs, atOnce: false, onError }), found: () => found }
}
