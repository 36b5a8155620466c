/** Finds the feature views that a model looks up by its data subjects, and leaves erased subjects out of their ingestion. */
import sql, { type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { SubjectKey } from '../signing/subject-hash.ts'
import { hasErasures, underAnotherKey } from './erased-subjects.ts'

/**
 * The views with values of the subjects of these models, as `(model, view_id, place)`: where the subject is in the keys of the view. A model
 * may name the entity of a view otherwise than the view does, and a version may use a view that the file no longer names.
 */
export const subjectViews = (models: Sql): Sql => sql`
  select model, feature_views.id as view_id, field.place::integer
  from (
      select name as model, definition ->> 'subject' as subject, feature.value -> 'from' as origin
      from models, jsonb_each(definition -> 'features') as feature where name in (${models})
      union
      select model, definition ->> 'subject', feature.value -> 'from'
      from models join versions on versions.model = models.name, jsonb_each(manifest -> 'features') as feature
      where name in (${models})
    ) as looked_up join feature_views on digest = origin ->> 'digest',
    jsonb_array_elements_text(origin -> 'by') with ordinality as field (name, place)
  where field.name = subject
  union
  select models.name, feature_views.id, field.place::integer
  from models, jsonb_array_elements(models.definition -> 'views') as used join feature_views on feature_views.name = used ->> 'name',
    jsonb_array_elements_text(feature_views.definition -> 'entity') with ordinality as field (name, place)
  where models.name in (${models}) and field.name = models.definition ->> 'subject'`

/** Until the transaction ends, no other stores values of the view. An erasure waits for it, and a later one knows of the erasure. */
export async function lockView(database: Database, viewId: number): Promise<void> {
  await database.query(sql`select from feature_views where id = ${viewId} for update`)
}

/** Returns when the values that are being stored without knowledge of an erasure are stored, so that it deletes them. */
export async function awaitIngestion(database: Database, id: string): Promise<void> {
  await database.query(sql`
    select from feature_views
    where id in (select view_id from (${subjectViews(sql`select model from erasures where id = ${id}`)}) as named)
    order by id for update`)
}

/**
 * Returns which of these entities of a view are erased, for any of the models. Each entity is hashed once, however many erasures there are.
 * Throws `configuration_invalid` if persons were erased under another key: they would not be recognised.
 */
export async function findErasedEntities(
  database: Database,
  {
    viewId,
    entities,
    subjectKey,
  }: { viewId: number; entities: readonly string[]; subjectKey: SubjectKey | undefined },
): Promise<Set<string>> {
  if (!(await hasErasures(database))) return new Set()
  const { key, digest } = subjectKey ?? { key: '', digest: '' }
  const found = await rowsFrom(database).list<{ entity?: string; model?: string }>(sql`
    with erased as materialized (
      select model, place, is_number, subject_hash, key_digest
      from erasures join (${subjectViews(sql`select model from erasures`)}) as named using (model) where view_id = ${viewId}
    ), hashed as materialized (
      select entity, place, is_number, subject_hashes_of(${key}, split_part(entity, chr(31), place), is_number) as hashes
      from unnest(${[...new Set(entities)]}::text[]) as entity, (select distinct place, is_number from erased) as way
    )
    select distinct entity, null as model
    from (select entity, place, is_number, unnest(hashes) as subject_hash from hashed) as named
      join erased using (place, is_number, subject_hash)
    union all select distinct null, model from erased where key_digest <> ${digest}`)
  const model = found.find((row) => row.model !== undefined)?.model
  if (model === undefined) return new Set(found.map(({ entity }) => entity!))
  if (subjectKey !== undefined) throw underAnotherKey(model)
  throw new DomainError('internal', `persons were erased from ${model}, but no signing key is set`)
}
