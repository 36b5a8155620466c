/**
 * Stores the registered versions with artifact digest and lineage. Triggers: `versions_insert_metrics` fills `version_metrics`,
 * `versions_enqueue_*` report a version to MLflow.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import type { VersionLineage } from '../../domain/registry/version.ts'
import { ofModels } from '../database/filter.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'

/** The name, provenance and time of a version, without its large manifest. */
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
  /** The signature of this installation over the artifact; absent when unsigned. */
  signature?: Buffer
  manifest: Manifest
}

export type NewVersion = Omit<Version, 'createdAt' | 'knownGoodAt' | 'rolledBackAt'>

const versionColumns = sql`version, model, major, minor, patch, artifact_digest, evaluation_id, training_id, lineage, created_by,
  created_at, known_good_at, rolled_back_at, signature, manifest`

/** Allows one registration per model at a time, until the transaction ends, so that two registrations cannot get the same number. */
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

export const findVersion = (database: Database, version: string) =>
  rowsFrom(database).find<Version>(sql`select ${versionColumns} from versions where version = ${version}`)

/** Throws `version_not_found`. */
export async function getVersion(database: Database, version: string): Promise<Version> {
  const found = await findVersion(database, version)
  if (found === undefined)
    throw new DomainError('version_not_found', `there is no version ${JSON.stringify(version)}`)
  return found
}

export const findVersionOfTraining = (database: Database, trainingId: string) =>
  rowsFrom(database).find<Version>(
    sql`select ${versionColumns} from versions where training_id = ${trainingId}`,
  )

/** The highest version of a model. */
export const findLatestVersion = (database: Database, model: string) =>
  rowsFrom(database).find<Version>(sql`
    select ${versionColumns} from versions where model = ${model} order by major desc, minor desc, patch desc limit 1`)

/** The highest first. */
export const listVersions = (
  database: Database,
  { limit = 100, ...filter }: { model?: string; limit?: number },
) =>
  rowsFrom(database).list<Version>(sql`
    select ${versionColumns} from versions where ${ofModels(filter)}
    order by model, major desc, minor desc, patch desc limit ${limit}`)

/** The parts of a brought artifact's manifest that do not change its answers. */
const fromSnapshot = ['golden', 'profile', 'unknownCategories', 'training', 'library']

/** A version with the same artifact that is champion, is being released, or was rolled back. */
export interface Twin {
  version: string
  champion: boolean
  /** Its open release. */
  release?: string
  /** ISO 8601. */
  rolledBackAt?: string
}

/**
 * The versions of an artifact that are champion or were rolled back, the latest rollback first; for a brought artifact, also those being
 * released. Brought artifacts are equal when their files, columns and features are, because the rest of the manifest follows from the snapshot.
 */
export const listTwins = (
  database: Database,
  { model, artifactDigest, brought }: { model: string; artifactDigest: string; brought?: Manifest },
) =>
  rowsFrom(database).list<Twin>(sql`
    select version, version in (select version from champions) as champion, rolled_back_at,
      (select id from releases where releases.version = versions.version and ended_at is null) as release
    from versions where model = ${model} and not drill and (artifact_digest = ${artifactDigest} or
        (manifest -> 'training' ->> 'origin' = 'brought' and
        manifest - ${fromSnapshot}::text[] = ${brought === undefined ? null : JSON.stringify(brought)}::jsonb - ${fromSnapshot}::text[]))
      and (rolled_back_at is not null or version in (select version from champions)
        or (${brought !== undefined} and version in (select version from releases where ended_at is null)))
    order by rolled_back_at desc nulls last`)

/** The latest versions that became proven within some days and were not rolled back since. */
export const listReleased = (
  database: Database,
  { model, days, except, limit }: { model: string; days: number; except: string; limit: number },
) =>
  rowsFrom(database).list<Pick<Version, 'version' | 'model' | 'artifactDigest' | 'signature'>>(sql`
    select version, model, artifact_digest, signature from versions
    where model = ${model} and version <> ${except} and rolled_back_at is null
      and not exists (select from deleted_artifacts where digest = artifact_digest)
      and known_good_at > now() - make_interval(days => ${days})
    order by known_good_at desc limit ${limit}`)
