/** Reads the releases that need an answer or were promoted, and stores their notifications. One request is notified once. */
import sql from 'sql-template-tag'
import type { GateReport } from '../../domain/evaluation/gate.ts'
import type { LoadTest } from '../../domain/model/load-test.ts'
import type { VersionLineage } from '../../domain/registry/version.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { NewAlert } from './alerts.ts'

export interface AskingRelease {
  state: ReleaseState
  /** In the format of the build that wrote it, older or newer. */
  report?: Partial<GateReport>
  /** Failed requests above the control's rate at the last verdict. */
  excess?: number
  owner?: string
  lineage?: Pick<VersionLineage, 'snapshot' | 'refit'>
  loadTest?: LoadTest
}

const columns = sql`releases.state, evaluations.report, models.definition ->> 'owner' as owner, versions.lineage,
  versions.load_test`
const joined = sql`releases
      join models on models.name = releases.model
      join versions on versions.version = releases.version
      left join evaluations on evaluations.id = versions.evaluation_id`

export const listAsking = (database: Database) =>
  rowsFrom(database).list<AskingRelease>(sql`
    select ${columns}, (
      select (statistics ->> 'excessBad')::float8 from decisions where release_id = releases.id order by id desc limit 1
    ) as excess
    from ${joined}
    where releases.ended_at is null and releases.stage in ('awaiting_approval', 'awaiting_decision')
      and not releases.state ? 'drill'`)

/** Releases whose candidate became champion, or passed its probation within a day, and whose notification is missing. */
export const listPromoted = (database: Database) =>
  rowsFrom(database).list<AskingRelease>(sql`
    select ${columns} from ${joined}
    where not releases.state ? 'drill' and (
        (releases.ended_at is null and releases.stage = 'probation')
        or (releases.outcome = 'promoted' and releases.ended_at > now() - interval '1 day'))
      and not exists (
        select from alerts
        where kind = 'release_promoted' and dedupe_key = 'promoted/' || releases.id || '/' || releases.stage)
    order by releases.started_at`)

/**
 * Raises a request, or updates its open alert when the text has changed. A resolved request is not raised again. Two unique indexes cover
 * its key, so the conflict clause names neither: concurrent processes may hit either index.
 */
export async function upsertRequest(database: Database, alert: NewAlert): Promise<void> {
  const { dedupeKey, model, severity, kind, message } = alert
  const evidence = JSON.stringify(alert.evidence)
  const callers = (alert.evidence?.['callers'] as string | undefined) ?? null
  await database.query(sql`
    with raised as (
      insert into alerts (dedupe_key, model, severity, kind, message, evidence, cause)
      values (${dedupeKey}, ${model}, ${severity}, ${kind}, ${message}, ${evidence}, ${dedupeKey})
      on conflict do nothing)
    update alerts set message = ${message}, evidence = ${evidence}
    where dedupe_key = ${dedupeKey} and resolved_at is null
      and (message <> ${message} or evidence ->> 'callers' is distinct from ${callers})`)
}

/** Stores an event as a resolved alert, once. */
export async function insertNotice(database: Database, alert: NewAlert): Promise<void> {
  await database.query(sql`
    insert into alerts (dedupe_key, model, severity, kind, message, evidence, cause, resolved_at)
    values (${alert.dedupeKey}, ${alert.model}, ${alert.severity}, ${alert.kind}, ${alert.message}, ${JSON.stringify(alert.evidence)},
      ${alert.dedupeKey}, now())
    on conflict (dedupe_key) where kind in ('approval_needed', 'decision_needed', 'release_promoted', 'release_aborted') do nothing`)
}

export interface AnsweredRequest {
  id: number
  version: string
  /** The command that answered the request, or the reason of its end; absent when neither is recorded. */
  answer?: string
}

/**
 * Open requests whose release no longer needs an answer. Decided in one snapshot, so that a request raised in the meantime is not
 * included.
 */
export const listClosedRequests = (database: Database) =>
  rowsFrom(database).list<AnsweredRequest>(sql`
    select alerts.id, releases.version, coalesce(
      releases.reason, releases.state ->> 'reason', releases.state -> 'rollbackOrder' ->> 'reason', (
        select message from commands
        where release_id = releases.id and accepted order by answered_at desc, position desc limit 1
      )) as answer
    from alerts join releases on releases.id = alerts.evidence ->> 'release'
    where alerts.resolved_at is null and alerts.kind in ('approval_needed', 'decision_needed')
      and (releases.ended_at is not null
        or alerts.dedupe_key <> concat_ws('/', 'request', releases.id, releases.stage, releases.state ->> 'enteredMs'))`)

/** Closes a request, with its answer as the message. */
export async function resolveRequest(
  database: Database,
  { id, message }: { id: number; message: string },
): Promise<void> {
  await database.query(
    sql`update alerts set resolved_at = now(), message = ${message}, resolution = ${message} where id = ${id} and resolved_at is null`,
  )
}
