/** Stores the versions that drills are made of, and reads how many requests reached them. */
import sql from 'sql-template-tag'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { Drill } from './drills.ts'
import type { Database } from '../postgres.ts'
import { lockVersions, type Version } from '../registry/versions.ts'

export interface DrillVersion {
  drill: string
  /** The champion that it is built from. */
  original: Version
  manifest: Manifest
  artifactDigest: string
  nameOf: (patch: number) => string
  signatureOf: (version: string) => Buffer
}

/** Registers it with a number below every real version. It shares the evaluation of its original; its training id names no training. */
export async function insertDrillVersion(database: Database, each: DrillVersion): Promise<string> {
  const { drill, original, manifest, artifactDigest } = each
  const { model } = original
  await lockVersions(database, model)
  const [{ patch } = { patch: 1 }] = await database.query<{ patch: number }>(sql`
    select coalesce(max(patch), 0)::int + 1 as patch from versions where model = ${model} and major = 0 and minor = 0`)
  const version = each.nameOf(patch)
  const trainingId = `drill/${drill}`
  await database.query(sql`
    insert into trainings
      (id, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, status, message, ended_at)
    select ${trainingId}, model, snapshot_digest, seed, code_digest, dependencies_digest, hyperparameters, 'done',
      ${`nothing was trained: it was made from ${original.version} for a drill`}, now()
    from trainings where id = ${original.trainingId}`)
  await database.query(sql`
    insert into versions (version, model, major, minor, patch, artifact_digest, signature, manifest, evaluation_id,
      training_id, lineage, created_by, drill)
    values (${version}, ${model}, 0, 0, ${patch}, ${artifactDigest}, ${each.signatureOf(version)}, ${JSON.stringify(manifest)},
      ${original.evaluationId}, ${trainingId}, ${JSON.stringify({ ...original.lineage, baseline: original.version, reason: 'drill' })},
      ${`drill ${drill}`}, true)`)
  return version
}

export interface Exposure {
  /** Requests to the candidate, from callers or as copies. */
  requests: number
  /** Failed and invalid requests among them, each caller once. */
  bad: number
  slow: number
  /** The time of the first counted request, on the database's clock. */
  firstMs: number | null
}

/** The counts of a drill's version, including those kept from its release. */
export async function readExposure(
  database: Database,
  { model, version, startedAt }: Pick<Drill, 'model' | 'version' | 'startedAt'>,
): Promise<Exposure> {
  const [row] = await database.query<Exposure>(sql`
    select coalesce(sum(requests), 0)::bigint as requests, coalesce(sum(errors + invalid), 0)::bigint as bad,
      coalesce(sum(slow95), 0)::bigint as slow,
      (extract(epoch from min(tick) filter (where requests > 0)) * 1000)::float8 as "firstMs"
    from tick_counters
    where model = ${model} and version = ${version ?? ''} and tick >= ${startedAt}::timestamptz - interval '1 minute'`)
  return row!
}
