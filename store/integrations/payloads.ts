/** Reads a version, or the aliases of a model, as the integrations send them, at the time of sending. */
import sql from 'sql-template-tag'
import type { VersionStatus } from '../../domain/registry/version-query.ts'
import { findStanding } from '../registry/version-search.ts'
import { findVersion, type Version } from '../registry/versions.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

export type VersionPayload = Pick<Version, 'version' | 'model' | 'artifactDigest' | 'trainingId'> & {
  status: VersionStatus
  snapshot?: string
}

export async function findVersionPayload(
  database: Database,
  name: string,
): Promise<VersionPayload | undefined> {
  const found = await findVersion(database, name)
  const { status } = (found && (await findStanding(database, name))) ?? {}
  if (found === undefined || status === undefined) return undefined
  const { version, model, artifactDigest, trainingId, lineage } = found
  return { version, model, status, artifactDigest, trainingId, snapshot: lineage.snapshot }
}

/** The champion and the candidate of an open release, except those of drills. */
export async function findAliases(
  database: Database,
  model: string,
): Promise<{ champion?: string; challenger?: string }> {
  const found = await rowsFrom(database).find<{ champion?: string; challenger?: string }>(sql`
    select (select version from champions where model = ${model}) as champion, (
      select releases.version from releases join versions on versions.version = releases.version
      where releases.model = ${model} and releases.ended_at is null and not drill
        and releases.version not in (select version from champions)
      limit 1) as challenger`)
  return found ?? {}
}
