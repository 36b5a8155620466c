/** Stores which run each signed start has opened, so that it opens no other run, and reads the basis that a start is bound to. */
import sql from 'sql-template-tag'
import type { StartBasis } from '../../domain/roles.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The run that the start opened, and when; undefined before it has opened one. */
export const findUsedStart = (database: Database, id: string) =>
  rowsFrom(database).find<{ runId: string; atMs: number }>(sql`
    select run_id, (extract(epoch from at) * 1000)::float8 as at_ms from used_starts where id = ${id}`)

/** The run that used the start: this one, or an earlier one. */
export const useStart = (
  database: Database,
  { id, type, runId, keyId }: { id: string; type: string; runId: string; keyId: string },
) =>
  rowsFrom(database).value<string>(sql`
    insert into used_starts (id, workflow_type, run_id, key_id) values (${id}, ${type}, ${runId}, ${keyId})
    on conflict (id) do update set id = excluded.id returning run_id`)

/** The champion and the artifact that the names in a request refer to now. */
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
