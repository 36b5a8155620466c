/**
 * Stores the registered versions with artifact digest and lineage. Triggers: `versions_insert_metrics` fills `version_metrics`,
 * `versions_enqueue_*` report a version to MLflow.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { VersionLineage } from '../../domain/registry/version.ts'
import { fromRow } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** What a version is called, what it was made from and when; without its manifest, which is large. */
export interface VersionLine {
  /** `name_vMAJOR.MINOR.PATCH` */
  version: string
  model: string
  major: number
  minor: number
  patch: number
  artifactDigest: string
  evaluationId: string
  trainingId: string
  lineage: VersionLineage
  createdBy: string
  /** ISO 8601. */
  createdAt: string
  knownGoodAt?: string
  rolledBackAt?: string
}

export interface Version extends VersionLine {
  /** Signature of this installation over the artifact; absent when it is not signed. */
  signature?: Buffer
  manifest: Manifest
}

export type NewVersion = Omit<Version, 'createdAt' | 'knownGoodAt' | 'rolledBackAt'>

const versionColumns = sql`version, model, major, minor, patch, artifact_digest, evaluation_id, training_id, lineage, created_by,
  created_at, known_good_at, rolled_back_at, signature, manifest`

/** One registration of a model at a time, until the transaction ends: two must not find the same next number free. */
export async function lockVersions(database: Database, model: string): Promise<void> {
  await database.query(sql`select pg_advisory_xact_lock(hashtext('versions'), hashtext(${model}))`)
}

export async function insertVersion(database: Database, each: NewVersion): Promise<Version> {
  const [row] = await database.query(sql`
    insert into versions (version, model, major, minor, patch, artifact_digest, signature, manifest,
      evaluation_id, training_id, lineage, created_by)
    values (${each.version}, ${each.model}, ${each.major}, ${each.minor}, ${each.patch}, ${each.artifactDigest},
      ${each.signature ?? null}, ${JSON.stringify(each.manifest)}, ${each.evaluationId}, ${each.trainingId}, ${JSON.stringify(each.lineage)},
      ${each.createdBy})
    returning ${versionColumns}`)
  if (row === undefined) throw new DomainError('internal', `${each.version} was not stored`)
  return fromRow<Version>(row)
}

export async function findVersion(database: Database, version: string): Promise<Version | undefined> {
  const [row] = await database.query(sql`select ${versionColumns} from versions where version = ${version}`)
  return row && fromRow<Version>(row)
}

/** Throws `version_not_found`. */
export async function getVersion(database: Database, version: string): Promise<Version> {
  const found = await findVersion(database, version)
  if (found === undefined)
    throw new DomainError('version_not_found', `there is no version ${JSON.stringify(version)}`)
  return found
}

export async function findVersionOfTraining(
  database: Database,
  trainingId: string,
): Promise<Version | undefined> {
  const [row] = await database.query(
    sql`select ${versionColumns} from versions where training_id = ${trainingId}`,
  )
  return row && fromRow<Version>(row)
}

/** The highest version of a model. */
export async function findLatestVersion(database: Database, model: string): Promise<Version | undefined> {
  const [row] = await database.query(sql`
    select ${versionColumns} from versions where model = ${model} order by major desc, minor desc, patch desc limit 1`)
  return row && fromRow<Version>(row)
}

/** The highest first. */
export async function listVersions(
  database: Database,
  { model, limit = 100 }: { model?: string; limit?: number },
): Promise<Version[]> {
  const rows = await database.query(sql`
    select ${versionColumns} from versions where ${model ?? null}::text is null or model = ${model ?? null}
    order by model, major desc, minor desc, patch desc limit ${limit}`)
  return rows.map(fromRow<Version>)
}

/** The latest versions that became known good within some days and were not rolled back since. */
export async function listReleased(
  database: Database,
  { model, days, except, limit }: { model: string; days: number; except: string; limit: number },
): Promise<Pick<Version, 'version' | 'model' | 'artifactDigest' | 'signature'>[]> {
  const rows = await database.query(sql`
    select version, model, artifact_digest, signature from versions
    where model = ${model} and version <> ${except} and rolled_back_at is null
      and not exists (select from deleted_artifacts where digest = artifact_digest)
      and known_good_at > now() - make_interval(days => ${days})
    order by known_good_at desc limit ${limit}`)
  return rows.map(fromRow<Pick<Version, 'version' | 'model' | 'artifactDigest' | 'signature'>>)
}
