/** Reads the feature values that were known of an entity at a given time, as training sees them. */
import sql from 'sql-template-tag'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { ViewRow } from './feature-values.ts'

type StoredValue = Omit<ViewRow, 'entity'>

/** The values of one entity that were known at a time, as training sees them; the latest event first. */
export const listValues = (
  database: Database,
  { viewId, entity, at, limit }: { viewId: number; entity: string; at: string; limit: number },
) =>
  rowsFrom(database).list<StoredValue>(sql`
    select event_at, known_at, usable_at, features from feature_history
    where view_id = ${viewId} and entity = ${entity} and usable_at <= ${at}::timestamptz
    order by event_at desc, known_at desc limit ${limit}`)

/** The statement that reads the history for a training: values usable by `until`, of events since `since`. */
export function historyQuery(view: {
  viewId: number
  values: Record<string, 'number' | 'category'>
  sinceIso: string | undefined
  untilIso: string
}): string {
  const columns = Object.entries(view.values).map(
    ([name, kind]) =>
      `${kind === 'number' ? `(features->>'${name}')::float8` : `features->>'${name}'`} as "${name}"`,
  )
  return `select entity, event_at, known_at, usable_at, ${columns.join(', ')} from feature_history
    where view_id = ${view.viewId} and usable_at <= timestamptz '${view.untilIso}'
      ${view.sinceIso === undefined ? '' : `and event_at >= timestamptz '${view.sinceIso}'`}`
}
