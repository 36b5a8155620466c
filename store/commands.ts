/**
 * Stores what users ask for: one row for each command, written with its audit row. The row is the authority; a workflow is started with
 * the id of a row, and its first activity reads from the row what to do.
 */
import sql from 'sql-template-tag'
import type { Role, StartBasis, StartType } from '../domain/roles.ts'
import { appendAudit } from './audit/audit-log.ts'
import { rowsFrom } from './database/from-row.ts'
import type { Database } from './postgres.ts'

/** How long a start may wait for a worker after it was sent to Temporal. */
const startMinutes = 15

export interface NewStart {
  /** `cmd_…` */
  id: string
  kind: StartType
  /** The key that sends it. */
  by: { id: string; name: string; role: Role }
  reason?: string
  /** The request as its workflow uses it, without the name of its sender. A feature view belongs to no model. */
  input: { model?: string; version?: string; view?: string }
}

/** The id of the command of a request; the same for its repetition. */
export const commandIdOf = (request: string): string => `cmd_${request.replaceAll('-', '').slice(0, 32)}`

/**
 * Stores a start with its audit row. A repetition is the same row: until it has opened its run, it may do so for a while from now, on the
 * basis of now.
 */
export async function insertStart(
  database: Database,
  { id, kind, by, reason, input }: NewStart,
): Promise<void> {
  const { model, view } = input
  const basis = JSON.stringify(await readStartBasis(database, input))
  const isNew = await rowsFrom(database).any(sql`
    insert into commands (id, kind, model, actor, key_id, role, reason, input, basis, until)
    values (${id}, ${kind}, ${model ?? null}, ${by.name}, ${by.id}, ${by.role}, ${reason ?? null}, ${JSON.stringify(input)},
      ${basis}, clock_timestamp() + ${startMinutes} * interval '1 minute')
    on conflict (id) do nothing returning id`)
  if (!isNew)
    await database.query(sql`
      update commands set until = clock_timestamp() + ${startMinutes} * interval '1 minute', basis = ${basis}
      where id = ${id} and run_id is null`)
  else
    await appendAudit(database, {
      actor: by.name,
      action: 'command.recorded',
      subject: model ?? view ?? id,
      model,
      detail: { id, command: kind, reason: reason ?? null },
    })
}

export interface Start {
  id: string
  kind: StartType
  model?: string
  /** The name and the id of the key that has sent it. */
  actor: string
  keyId: string
  input: { version?: string; view?: string }
  basis: StartBasis
  /** The run that it has opened. */
  runId?: string
  /** False when its sender was told that it does not start. */
  accepted?: boolean
  isLate: boolean
}

/** Undefined for an id that is no start. */
export const findStart = (database: Database, id: string) =>
  rowsFrom(database).find<Start>(sql`
    select id, kind, model, actor, key_id, input, basis, run_id, accepted, until <= clock_timestamp() as is_late
    from commands where id = ${id} and release_id is null`)

/** The run of the start: this one, or an earlier one. */
export const claimStart = (database: Database, { id, runId }: { id: string; runId: string }) =>
  rowsFrom(database).value<string>(sql`
    update commands set run_id = coalesce(run_id, ${runId}) where id = ${id} returning run_id`)

/** The champion and the artifact that the names in a request mean now. */
export async function readStartBasis(
  database: Database,
  { model, version }: { model?: string; version?: string },
): Promise<StartBasis> {
  if (model === undefined) return {}
  const [row] = await database.query<{ champion: string | null; artifact: string | null }>(sql`
    select (select version from champions where model = ${model}) as champion,
      (select artifact_digest from versions where version = ${version ?? null}) as artifact`)
  const { champion = null, artifact } = row ?? {}
  return { champion, artifact: artifact ?? undefined }
}
