/**
 * Stores the registered versions with artifact digest and lineage. Triggers: `versions_insert_metrics` fills `version_metrics`,
 * `versions_enqueue_*` report a version to MLflow.
 */
import sql, { empty, join, raw, type Sql } from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { refitText } from '../../domain/training/refit.ts'
import type { VersionLineage, VersionNumber } from '../../domain/registry/version.ts'
import * as schema from '../../domain/schema.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { fromRow, rowsFrom, fromRowWithout } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { MetricCondition, VersionOrder, VersionStatus } from '../../domain/registry/version-query.ts'

/** The name, provenance and time of a version, without its large manifest. */
const versionLine = schema.record(
  {
    /** `name_vMAJOR.MINOR.PATCH` */
    version: schema.text,
    model: schema.text,
    major: schema.count,
    minor: schema.count,
    patch: schema.count,
    artifactDigest: schema.text,
    evaluationId: schema.text,
    trainingId: schema.text,
    lineage: schema.dataOf<VersionLineage>(),
    createdBy: schema.text,
    createdAt: schema.time,
  },
  { knownGoodAt: schema.time, rolledBackAt: schema.time },
)
type VersionLine = schema.TypeOf<typeof versionLine>

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

/** What was judged and on what the weights were refitted; undefined without a version, or for one that was not refitted. */
export const findRefitText = async (
  database: Database,
  version: string | undefined,
): Promise<string | undefined> =>
  version === undefined ? undefined : refitText((await findVersion(database, version))?.lineage ?? {})

export const findVersionOfTraining = (database: Database, trainingId: string) =>
  rowsFrom(database).find<Version>(
    sql`select ${versionColumns} from versions where training_id = ${trainingId}`,
  )

/** The version that a retraining has registered. */
export const findVersionOfRetraining = (database: Database, retraining: string) =>
  rowsFrom(database).value<string>(
    sql`select version from versions where lineage ->> 'retrainingId' = ${retraining}`,
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
    select ${versionColumns} from versions where ${ofModel(filter)}
    order by model, major desc, minor desc, patch desc limit ${limit}`)

/** The parts of a manifest that do not change its answers. */
const fromSnapshot = ['golden', 'profile', 'unknownCategories', 'types', 'warnings', 'training', 'library']

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
 * The versions of an artifact that are champion or were rolled back, the latest rollback first; for a brought or compressed artifact, also
 * those being released. Such artifacts are equal to others when their files, columns and features are, because the rest of the manifest follows from the snapshot.
 */
export const listTwins = (
  database: Database,
  { model, artifactDigest, brought }: { model: string; artifactDigest: string; brought?: Manifest },
) =>
  rowsFrom(database).list<Twin>(sql`
    select version, version in (select version from champions) as champion, rolled_back_at,
      (select id from releases where releases.version = versions.version and ended_at is null) as release
    from versions where model = ${model} and not drill and (${artifactDigest} in (artifact_digest, lineage #>> '{refit,judged}') or
        manifest - ${fromSnapshot}::text[] = ${brought === undefined ? null : JSON.stringify(brought)}::jsonb - ${fromSnapshot}::text[])
      and (rolled_back_at is not null or version in (select version from champions)
        or (${brought !== undefined} and version in (select version from releases where ended_at is null)))
    order by rolled_back_at desc nulls last`)

/** The latest versions that became proven within some days and were not rolled back since. */
export const listReleased = (
  database: Database,
  { model, days, except, limit }: { model: string; days: number; except: string; limit: number },
) =>
  rowsFrom(database).list<
    Pick<Version, 'version' | 'model' | 'artifactDigest' | 'signature' | 'lineage'>
  >(sql`
    select version, model, artifact_digest, signature, lineage from versions
    where model = ${model} and version <> ${except} and rolled_back_at is null
      and not exists (
        select from deleted_artifacts where digest in (artifact_digest, lineage #>> '{refit,judged}'))
      and known_good_at > now() - make_interval(days => ${days})
    order by known_good_at desc limit ${limit}`)

// Finds registered versions by status, metrics, time, data and text. A page is selected by its keys before any large column is read, so
// that its cost does not depend on the size of a version.

export const foundVersion = schema.extend(
  versionLine,
  { status: schema.textOf<VersionStatus>() },
  {
    /** Why its queued release was not started; only for a registered version. */
    notReleased: schema.text,
  },
)
export type FoundVersion = schema.TypeOf<typeof foundVersion>

/** Read with a version, as the key of the next page. */
interface PageKey {
  ranked_by: number | null
  at: string
}

/** The last row of the previous page, as `cursorOf` returns it. */
export type VersionKey =
  | { order: 'version'; model: string; major: number; minor: number; patch: number }
  | { order: 'time'; at: string; version: string }
  | { order: 'metric'; value: number; version: string }

export interface VersionSearch extends ModelFilter {
  status?: VersionStatus
  conditions?: readonly MetricCondition[]
  since?: string
  until?: string
  /** The first digits of the snapshot digest. */
  data?: string
  /** Searched in name, requester, reason and hyperparameters, ignoring case. */
  text?: string
  order?: VersionOrder
  after?: VersionKey
  limit: number
}

/** Versions of drills are found only by their status. */
export async function findVersions(
  database: Database,
  search: VersionSearch,
): Promise<{ versions: FoundVersion[]; next?: VersionKey }> {
  const { limit, order = 'version' } = search
  const by = typeof order === 'object' ? order : undefined
  const rows = await database.query<VersionLine & PageKey>(sql`
    with page as materialized (
      select v.version, ${statusOf} as status, ${by === undefined ? sql`null::double precision` : sql`ranked.value`} as ranked_by
      from versions as v
      ${by === undefined ? empty : sql`join version_metrics as ranked on ranked.version = v.version and ranked.metric = ${by.metric}`}
      left join champions on champions.version = v.version
      left join releases as open on open.version = v.version and open.ended_at is null
      where ${join(versionFilters(search), ' and ')}
      order by ${orderOf(order, raw('v'), raw('ranked.value'))} limit ${limit + 1}
    )
    select v.version, v.model, page.status, v.major, v.minor, v.patch, v.artifact_digest, v.evaluation_id, v.training_id,
      v.lineage, v.created_by, v.created_at, v.known_good_at, v.rolled_back_at,
      case when page.status = 'registered' then ${notReleased} end as not_released,
      page.ranked_by, v.created_at::text as at
    from page join versions as v on v.version = page.version
    order by ${orderOf(order, raw('v'), raw('page.ranked_by'))}`)
  const last = rows.length > limit ? rows[limit - 1] : undefined
  return {
    versions: rows.slice(0, limit).map((row) => fromRowWithout<FoundVersion>(row, 'ranked_by', 'at')),
    next: last === undefined ? undefined : keyOf(order, last),
  }
}

/** The status of one version, and why it was not released; also for a version of a drill. */
export const findStatus = (database: Database, version: string) =>
  rowsFrom(database).find<Pick<FoundVersion, 'status' | 'notReleased'>>(sql`
    select ${statusOf} as status, case when ${statusOf} = 'registered' then ${notReleased} end as not_released from versions as v
    left join champions on champions.version = v.version
    left join releases as open on open.version = v.version and open.ended_at is null
    where v.version = ${version}`)

const notReleased: Sql = sql`(
  select case when queued.state in ('refused', 'expired', 'superseded') then queued.message end from release_queue as queued
  where queued.version = v.version order by queued.at desc limit 1)`

const statusOf: Sql = sql`case
  when v.drill then 'drill'
  when champions.version is not null then 'champion'
  when v.rolled_back_at is not null then 'rolled_back'
  when open.id is not null then 'releasing'
  when v.known_good_at is not null then 'known_good'
  else 'registered' end`

/** The same conditions as in `statusOf`, so that a search for one status reads no other versions. */
const conditionOf = {
  drill: sql`v.drill`,
  champion: sql`not v.drill and champions.version is not null`,
  rolled_back: sql`not v.drill and champions.version is null and v.rolled_back_at is not null`,
  releasing: sql`not v.drill and champions.version is null and v.rolled_back_at is null and open.id is not null`,
  known_good: sql`not v.drill and champions.version is null and v.rolled_back_at is null and open.id is null and v.known_good_at is not null`,
  registered: sql`not v.drill and champions.version is null and v.rolled_back_at is null and open.id is null and v.known_good_at is null`,
} satisfies Record<VersionStatus, Sql>

function versionFilters(search: VersionSearch): Sql[] {
  const { model, status, conditions = [], since, until, data, text, order = 'version', after } = search
  const filters: Sql[] = [status === undefined ? sql`not v.drill` : conditionOf[status]]
  if (model !== undefined) filters.push(sql`v.model = ${model}`)
  if (since !== undefined) filters.push(sql`v.created_at >= ${since}::timestamptz`)
  if (until !== undefined) filters.push(sql`v.created_at < ${until}::timestamptz`)
  if (data !== undefined) filters.push(sql`v.lineage ->> 'snapshot' like ${startOf(data)}`)
  if (text !== undefined)
    filters.push(sql`concat_ws(' ', v.version, v.created_by, v.lineage ->> 'requestedBy', v.lineage ->> 'reason', v.lineage ->> 'note',
      v.lineage ->> 'hyperparameters') ilike ${`%${literalOf(text)}%`}`)
  for (const { metric, is, value } of conditions)
    filters.push(sql`exists (select from version_metrics as m
      where m.version = v.version and m.metric = ${metric} and m.value ${raw(is)} ${value})`)
  if (after !== undefined) filters.push(behind(order, after))
  return filters
}

function orderOf(order: VersionOrder, v: Sql, value: Sql): Sql {
  if (order === 'version') return sql`${v}.model, ${v}.major desc, ${v}.minor desc, ${v}.patch desc`
  if (order === 'newest') return sql`${v}.created_at desc, ${v}.version desc`
  if (order === 'oldest') return sql`${v}.created_at, ${v}.version`
  return order.direction === 'descending'
    ? sql`${value} desc, ${v}.version desc`
    : sql`${value}, ${v}.version`
}

function behind(order: VersionOrder, key: VersionKey): Sql {
  if (key.order === 'version')
    return sql`(v.model > ${key.model} or (v.model = ${key.model}
      and (v.major, v.minor, v.patch) < (${key.major}, ${key.minor}, ${key.patch})))`
  const isDescending = order === 'newest' || (typeof order === 'object' && order.direction === 'descending')
  const than = raw(isDescending ? '<' : '>')
  return key.order === 'time'
    ? sql`(v.created_at, v.version) ${than} (${key.at}::timestamptz, ${key.version})`
    : sql`(ranked.value, v.version) ${than} (${key.value}, ${key.version})`
}

function keyOf(order: VersionOrder, row: VersionLine & PageKey): VersionKey {
  const { version, model, major, minor, patch } = row
  if (order === 'version') return { order, model, major, minor, patch }
  if (typeof order === 'object') return { order: 'metric', value: row.ranked_by ?? 0, version }
  // With microseconds, which a Date lacks.
  return { order: 'time', at: row.at, version }
}

const literalOf = (text: string): string => text.replaceAll(/[\\%_]/g, (sign) => `\\${sign}`)
/** The `like` pattern for texts that begin with this one. */
export const startOf = (text: string): string => `${literalOf(text)}%`

// Finds the highest version numbers that were ever used. A restore writes them into its audit row, because versions registered after the
// backup are lost although callers know their names.

/** Model → its highest number. */
export type GivenNumbers = Readonly<Record<string, VersionNumber>>

export async function findGivenNumbers(database: Database): Promise<GivenNumbers> {
  const rows = await rowsFrom(database).list<VersionNumber & { model: string }>(sql`
    select distinct on (model) model, major, minor, patch from (
      select model, major, minor, patch from versions
      union all
      select given.model, parts.major, parts.minor, parts.patch
      from audit, jsonb_each(detail -> 'numbers') as given (model, number),
        jsonb_to_record(given.number) as parts (major int, minor int, patch int)
      where action = 'database.restored'
    ) as numbers order by model, major desc, minor desc, patch desc`)
  return Object.fromEntries(rows.map(({ model, ...number }) => [model, number]))
}
