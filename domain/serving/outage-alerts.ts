/** Words the alerts that processes send while the database is away, and the line that follows when it is back. */
import { counted } from '../figures.ts'
import type { AlertKind } from '../monitoring/alert-kinds.ts'
import type { Severity } from '../monitoring/alert-escalation.ts'

/** An alert without its times. */
export interface OutageAlert {
  dedupeKey: string
  severity: Severity
  kind: AlertKind
  message: string
  evidence?: Record<string, unknown>
}

export interface DatabaseOutage {
  kind: 'full' | 'read_only' | 'away' | 'slow'
  /** Continues a sentence whose subject is Postgres. */
  what: string
  why: string
  remedy: string
  forMs: number
}

const seconds = (ms: number): string => `${Math.round(ms / 1_000)} s`

const waits = 'Predictions continue from memory; commands, releases and retrainings wait.'

export const databaseAlert = ({ kind, what, why, remedy, forMs }: DatabaseOutage): OutageAlert => ({
  dedupeKey: kind === 'full' ? 'disk_full/database' : 'postgres_unavailable',
  severity: 'critical',
  kind: kind === 'full' ? 'disk_full' : 'postgres_unavailable',
  message: `Postgres ${what} for ${seconds(forMs)}: ${why}. ${waits} ${remedy}`,
  evidence: { trouble: kind, ...(kind === 'full' && { title: 'the disk of Postgres is full' }) },
})

export interface OutageLosses {
  forMs: number
  failedRequests: number
  lostRows: number
}

/** The line after an outage. */
export function outageEndText(kind: AlertKind, { forMs, failedRequests, lostRows }: OutageLosses): string {
  const was = kind === 'disk_full' ? 'The disk of Postgres was full for' : 'Postgres was away'
  const failed =
    failedRequests === 0
      ? 'no request failed because of it'
      : `${counted(failedRequests, 'request')} failed of versions that had not failed before`
  return `${was} ${seconds(forMs)}; ${failed}, ${counted(lostRows, 'log row')} lost.`
}

export const stateDiskAlert = (host: string, folder: string): OutageAlert => ({
  dedupeKey: `disk_full/state/${host}`,
  severity: 'critical',
  kind: 'disk_full',
  message: `The disk of ${folder} on ${host} is full. Rows of the prediction log wait in memory, and a replica that restarts may need Postgres to serve. Free space on this disk.`,
  evidence: { host, folder, title: `the disk of ${folder} on ${host} is full` },
})

export interface DroppedRows {
  /** The host and the index of the replica. */
  replica: string
  rows: number
  since: string
}

export const droppedRowsAlert = ({ replica, rows, since }: DroppedRows): OutageAlert => ({
  dedupeKey: `log_rows_dropped/${replica}`,
  severity: 'critical',
  kind: 'log_rows_dropped',
  message: `Replica ${replica} has lost ${counted(rows, 'row')} of the prediction log since ${since.slice(0, 19).replace('T', ' ')} UTC: neither Postgres nor its disk takes rows, and its memory for them is full. Their requests were answered. Restore Postgres, or free space on its disk or that of the replica.`,
  evidence: { replica, rows, since },
})

export const unmountedAlert = (host: string, folder: string): OutageAlert => ({
  dedupeKey: `artifacts_unreachable/${host}`,
  severity: 'critical',
  kind: 'artifacts_unreachable',
  message: `The folder of the artifacts, ${folder}, is not mounted on ${host}. Work that needs it waits, and a replica that restarts serves the versions on its own disk. Mount it again.`,
  evidence: { host, folder },
})

export interface WaitingStreams {
  replica: string
  /** Topics with the code of the error that each waits for. */
  streams: readonly string[]
}

export const waitingStreamsAlert = ({ replica, streams }: WaitingStreams): OutageAlert => ({
  dedupeKey: `stream_waiting/${replica}`,
  severity: 'critical',
  kind: 'stream_waiting',
  message: `Streams of the replica ${replica} wait: ${streams.join(', ')}. They continue from their last commit; no record is lost while the topic keeps it.`,
  evidence: { replica, streams },
})
