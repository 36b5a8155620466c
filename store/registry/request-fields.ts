/**
 * Reads which fields requests of a model may carry: what its model files and its versions have named. Triggers: `models_insert_fields` and
 * `versions_insert_fields` fill `request_fields`.
 */
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

export interface RequestFieldsRead {
  /** Changes with every model file that is stored. */
  digest: string
  /** The fields of each model; null when the digest is the given one. */
  fields: Record<string, string[]> | null
}

/** Reads the fields of all models, unless no model file has been stored since `digest` was read. */
export async function readRequestFields(database: Database, digest: string): Promise<RequestFieldsRead> {
  const [row] = await database.query<RequestFieldsRead>(prepared`
    with stored as (
      select md5(coalesce(string_agg(name || ' ' || extract(epoch from synced_at), ',' order by name), '')) as digest
      from models
    )
    select digest, case when digest <> ${digest} then (
      select coalesce(jsonb_object_agg(model, fields), '{}')
      from (select model, jsonb_agg(field) as fields from request_fields group by model) as listed
    ) end as fields
    from stored`)
  return row!
}
