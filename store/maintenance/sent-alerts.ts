/**
 * Keeps the alerts that processes send without the database: as files of this machine while it is away, and as rows afterwards. A file is
 * created by one process only, so that the processes of a machine send each alert once.
 */
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import sql from 'sql-template-tag'
import { parseJson } from '../../domain/parse-json.ts'
import type { DeliveryRecord } from '../../domain/monitoring/alert-escalation.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import { isAlive, thisProcess } from '../process-identity.ts'
import type { Database, Store } from '../postgres.ts'
import { resolveAlert, upsertAlert, type NewAlert } from '../monitoring/alerts.ts'
import { iso } from '../monitoring/monitor-windows.ts'

export interface SentAlert {
  /** The process that sends the alert, as `thisProcess` names it. */
  owner: string
  alert: NewAlert
  sinceMs: number
  deliveries: DeliveryRecord[]
  path: string
}

/** How long a process may take from its claim to its first message, before another one takes the alert over. */
const unsentMs = 30_000

/** The name of this machine. */
export const machineName = hostname

/** Whether the disk of a folder has no room for a block of the prediction log. */
export async function isDiskFull(folder: string): Promise<boolean> {
  const free = await statfs(folder).catch(() => undefined)
  return free !== undefined && free.bavail * free.bsize < minFreeBytes
}
const minFreeBytes = 1_048_576

/** Identifies the message of an alert that has no row. */
export const messageNumber = ({ dedupeKey }: Pick<NewAlert, 'dedupeKey'>): number => crc32(dedupeKey)

/** Resolves with the failure of a statement that needs no table; undefined when the database answers. */
export const askDatabase = (database: Database): Promise<Error | undefined> =>
  database.query(sql`select 1`).then(
    () => undefined,
    (error: Error) => error,
  )

const folderOf = (stateDir: string): string => join(stateDir, 'cache', 'sent-alerts')

/** Claims an alert for this process. Undefined when another process of this machine sends it. */
export async function claimAlert(
  stateDir: string,
  { alert, sinceMs }: Pick<SentAlert, 'alert' | 'sinceMs'>,
): Promise<SentAlert | undefined> {
  const name = createHash('sha256').update(alert.dedupeKey).digest('hex').slice(0, 32)
  const path = join(folderOf(stateDir), `${name}.json`)
  const own = { owner: thisProcess(), alert, sinceMs, deliveries: [] as DeliveryRecord[], path }
  await mkdir(folderOf(stateDir), { recursive: true })
  try {
    // The name is the claim: a full disk still takes an empty file.
    await (await open(path, 'wx', 0o600)).close()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return own
    const found = await readSentAlert(path)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    const isSent = found !== undefined && found.deliveries.length > 0
    if (isSent ? isAlive(found.owner) : Date.now() - mtimeMs < unsentMs) return undefined
    // A process that has ended has sent it; this one continues and later records it.
    if (found !== undefined) own.deliveries.push(...found.deliveries)
    Object.assign(own, found && { alert: found.alert, sinceMs: found.sinceMs })
  }
  await writeSentAlert(own)
  return own
}

/** Stores what has been sent. On a full disk, this process alone knows it. */
export async function writeSentAlert({ path, ...sent }: SentAlert): Promise<void> {
  const partial = `${path}.${process.pid}`
  await writeFile(partial, JSON.stringify(sent), { mode: 0o600 })
    .then(() => rename(partial, path))
    .catch(() => rm(partial, { force: true }))
}

const readSentAlert = async (path: string): Promise<SentAlert | undefined> => {
  const found = parseJson<SentAlert>(await readFile(path, 'utf8').catch(() => ''))
  return found === undefined ? undefined : { ...found, path }
}

/** Takes the alerts of ended processes over, and removes claims without contents. */
export async function adoptSentAlerts(stateDir: string): Promise<SentAlert[]> {
  const folder = folderOf(stateDir)
  const adopted: SentAlert[] = []
  for (const name of await readdir(folder).catch(() => [])) {
    const path = join(folder, name)
    const found = await readSentAlert(path)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (found === undefined && Date.now() - mtimeMs > unsentMs) await rm(path, { force: true })
    if (found === undefined || isAlive(found.owner)) continue
    // Only one process can rename it.
    const own = join(folder, `${thisProcess()}-${name}`)
    const mine = { ...found, owner: thisProcess(), path: own }
    const isMine = await rename(path, own).then(
      () => true,
      () => false,
    )
    if (!isMine) continue
    await writeSentAlert(mine)
    adopted.push(mine)
  }
  return adopted
}

/**
 * Records an alert with the notifications that were sent, so that it is not sent again. With `endText`, it has ended; the channels that
 * were notified get this text.
 */
export async function recordSentAlert(
  store: Store,
  { alert, sinceMs, deliveries, path }: SentAlert,
  endText?: string,
): Promise<void> {
  await store.transaction(async (database) => {
    const id = await upsertAlert(database, alert)
    await database.query(sql`
      update alerts set raised_at = least(raised_at, ${iso(sinceMs)}::timestamptz), message = ${endText ?? alert.message} where id = ${id}`)
    const rows = deliveries.map(({ channel, dueMs, sentMs }) => ({
      channel,
      due: iso(dueMs),
      sent: iso(sentMs ?? dueMs),
    }))
    await database.query(sql`
      insert into alert_notifications (alert_id, channel, about, due_at, attempts, next_at, sent_at, sent_as)
      select ${id}, channel, 'raised', due, 1, null, sent, ${JSON.stringify({ kind: alert.kind, severity: alert.severity })}
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as row (channel text, due timestamptz, sent timestamptz)
      on conflict do nothing`)
    if (endText !== undefined) await resolveAlert(database, alert.dedupeKey, endText)
  })
  await rm(path, { force: true })
}

/**
 * Counts what was lost between two moments in which Postgres was away: rows of the prediction log that replicas dropped, and the failed
 * requests of versions that had failed at none in the ten minutes before. An invalid answer has never its cause in Postgres.
 */
export async function countLosses(
  database: Database,
  { sinceMs, untilMs }: { sinceMs: number; untilMs: number },
): Promise<{ failedRequests: number; lostRows: number }> {
  const found = await rowsFrom(database).find<{ failedRequests: number; lostRows: number }>(prepared`
    select
      (select coalesce(sum(errors), 0)::float8 from tick_counters
        where arm <> 'shadow' and errors > 0 and tick between ${iso(sinceMs)}::timestamptz and ${iso(untilMs)}::timestamptz
          and not exists (
            select from tick_counters as before
            where before.model = tick_counters.model and before.version = tick_counters.version and before.arm <> 'shadow'
              and before.errors > 0 and before.tick < ${iso(sinceMs)}::timestamptz
              and before.tick >= ${iso(sinceMs)}::timestamptz - interval '10 minutes')) as failed_requests,
      (select coalesce(sum((evidence ->> 'rows')::float8), 0) from alerts
        where kind = 'log_rows_dropped' and coalesce(resolved_at, now()) >= ${iso(sinceMs)}::timestamptz) as lost_rows`)
  return found ?? { failedRequests: 0, lostRows: 0 }
}
