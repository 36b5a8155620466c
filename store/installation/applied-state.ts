/** Stores the last values that `tenure apply` set, resource by resource, so that later manual changes can be reported. */
import sql from 'sql-template-tag'
import {
  identityOf,
  type AppliedResource,
  type Resource,
  type ResourceKind,
} from '../../domain/installation/resource.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export const listApplied = (database: Database) =>
  rowsFrom(database).list<AppliedResource>(
    sql`select kind, name, value, at, actor from applied_state order by kind, name`,
  )

/** Keeps time and actor of a value that is already stored. */
export async function writeApplied(
  database: Database,
  resources: readonly Resource[],
  actor: string,
): Promise<void> {
  const rows = resources.map(({ kind, name, value }) => ({ kind, name, value: identityOf(kind, value) }))
  await database.query(sql`
    insert into applied_state (kind, name, value, actor)
    select kind, name, value, ${actor} from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as given (kind text, name text, value jsonb)
    on conflict (kind, name) do update set value = excluded.value, actor = excluded.actor, at = now()
    where applied_state.value <> excluded.value`)
}

/** Deletes the resources of these kinds that the state file no longer names. */
export async function keepApplied(
  database: Database,
  kinds: readonly ResourceKind[],
  named: readonly Pick<Resource, 'kind' | 'name'>[],
): Promise<void> {
  const keys = named.map(({ kind, name }) => ({ kind, name }))
  await database.query(sql`
    delete from applied_state where kind = any(${kinds}::text[]) and not exists (
      select from jsonb_to_recordset(${JSON.stringify(keys)}::jsonb) as given (kind text, name text)
      where given.kind = applied_state.kind and given.name = applied_state.name)`)
}
