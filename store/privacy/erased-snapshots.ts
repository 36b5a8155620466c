/** Lists the snapshots that hold an erased subject and deletes their files when they are due. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import { snapshotsBeingRead } from '../registry/artifact-retention.ts'
import { isUsedBy } from '../training/snapshots.ts'

interface HeldSnapshot {
  digest: string
  /** The digest of the list of its data subjects. */
  subjects?: string
}

interface ModelSnapshot extends HeldSnapshot {
  /** Whether the subject column is a number. */
  isNumber?: boolean
}

/**
 * The snapshots whose file still exists. Equal rows are one snapshot, of the model that took it first: a list of data subjects is that of
 * its model, which may name another column.
 */
export const listModelSnapshots = (database: Database, model: string) =>
  rowsFrom(database).list<ModelSnapshot>(sql`
    select digest, (source ->> 'subjectIsNumber')::boolean as is_number,
      case when model = ${model} then source ->> 'subjects' end as subjects from snapshots
    where dropped_at is null and ${isUsedBy(model)}
    order by created_at, digest`)

/** Sets the deletion deadline of snapshots. A repeated call keeps the first deadline. */
export async function scheduleSnapshotDeletion(
  database: Database,
  {
    id,
    snapshots,
    days,
  }: { id: string; snapshots: readonly { digest: string; holds: string }[]; days: number },
): Promise<void> {
  await database.query(sql`
    insert into erasure_snapshots (erasure_id, digest, holds, drop_after)
    select ${id}, digest, holds, now() + make_interval(days => ${days}::integer)
    from jsonb_to_recordset(${JSON.stringify(snapshots)}::jsonb) as held (digest text, holds text)
    on conflict do nothing`)
}

export const listDueSnapshots = (database: Database, limit = 1_000) =>
  rowsFrom(database).list<HeldSnapshot>(sql`
    select digest, source ->> 'subjects' as subjects from snapshots
    where dropped_at is null
      and exists (select from erasure_snapshots as held where held.digest = snapshots.digest and drop_after <= now())
      and digest not in (${snapshotsBeingRead})
    order by digest limit ${limit}`)

/** Whether another kept snapshot, perhaps of another model, has this list of subjects. */
export const isListShared = (database: Database, { digest, subjects }: Required<HeldSnapshot>) =>
  rowsFrom(database).any(sql`
    select from snapshots
    where dropped_at is null and digest <> ${digest} and source ->> 'subjects' = ${subjects} limit 1`)

export async function markSnapshotDropped(database: Database, digest: string): Promise<void> {
  await database.query(
    sql`update snapshots set dropped_at = now() where digest = ${digest} and dropped_at is null`,
  )
}

/** Batches of a model with rows or predictions in files, from which only their owner can remove a subject. */
export const listFileBatches = (database: Database, model: string) =>
  rowsFrom(database).column<string>(sql`
    select id from batches where model = ${model} and (input_digest is not null or output ->> 'kind' = 'file')
    order by started_at limit 100`)
