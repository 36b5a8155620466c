/**
 * Lists which files of the artifact store are referenced, and deletes artifacts. The row is marked before its files are removed, so a
 * crash leaves unreferenced files, which a later run finds, and never a row without its files.
 */
import sql from 'sql-template-tag'
import type { ArtifactGroup } from '../../domain/registry/artifact-retention.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { artifactKey } from '../artifacts.ts'
import { rowsFrom } from '../database/from-row.ts'
import type { Database, Store } from '../postgres.ts'

/** The number of proven champions to keep, as rollback targets and for comparisons. */
const provenCount = 9

/** A file that was written or requested within this time may still get its row. */
const youngHours = 24

/** Versions that replicas load. */
const versionsServing = sql`
  select version from champions
  union select arm ->> 'version' from routing cross join jsonb_array_elements(route -> 'arms') as arm
  union select named from routing
    cross join lateral (values (route ->> 'proven'), (route ->> 'standby'), (route -> 'shadow' ->> 'version'),
      (route -> 'targeted' ->> 'version')) as all_named (named)
    where named is not null`

/** Versions that serve, or may have to serve at any moment. */
const versionsInUse = sql`
  ${versionsServing}
  union select version from releases where ended_at is null
  union select baseline_version from releases where ended_at is null and baseline_version is not null
  union select lineage #>> '{compression,version}' from versions where lineage ? 'compression' and version in (
      select version from champions union select version from releases where ended_at is null)
  union select version from release_queue where state = 'waiting'
  union select version from batches where status = 'running'
  union select version from drills where ended_at is null and version is not null
  union select version from (
      select version, row_number() over (partition by model order by created_at desc, version) as place
      from versions where not drill) as newest
    where place = 1
  union select version from (
      select version, row_number() over (partition by model order by known_good_at desc, version) as place
      from versions where known_good_at is not null and rolled_back_at is null and not drill) as proven
    where place <= ${provenCount}
  union select version from (
      select version, row_number() over (partition by versions.model order by max(champion_history.id) desc) as place
      from champion_history join versions using (version)
      where known_good_at is not null and rolled_back_at is null group by versions.model, version) as served
    where place <= ${provenCount}`

/** Lists the versions that replicas load, by name. */
export const listServingVersions = (database: Database) =>
  rowsFrom(database).list<{ version: string; digest: string }>(sql`
    select version, artifact_digest as digest from versions where version in (${versionsServing}) order by version`)

/** Every reference from a row to an artifact, with its time. */
const namings = sql`
  select artifact_digest as digest, created_at as at from versions
  union all select artifact_digest, created_at from evaluations
  union all select artifact_digest, coalesce(ended_at, started_at) from trainings where artifact_digest is not null`

/** Artifacts that must be kept, whatever their size. */
const artifactsInUse = sql`
  select artifact_digest as digest from versions where version in (${versionsInUse})
  union select lineage #>> '{refit,judged}' from versions where version in (${versionsInUse}) and lineage ? 'refit'
  union select digest from (${namings}) as named where at > now() - make_interval(hours => ${youngHours})
  union select artifact_digest from trainings
    join retrainings on retrainings.model = trainings.model and retrainings.ended_at is null
      and trainings.started_at >= retrainings.started_at
    where artifact_digest is not null`

/** Snapshots that a training, an evaluation, a trial or a sweep reads. */
export const snapshotsBeingRead = sql`
  select snapshot_digest as digest from trainings where status = 'running'
  union select validations.snapshot_digest from validations
    join retrainings on retrainings.model = validations.model and retrainings.ended_at is null
      and validations.created_at >= retrainings.started_at
  union select validations.snapshot_digest from validations
    join trials on trials.model = validations.model and trials.ended_at is null
      and validations.created_at >= trials.started_at
  union select refit_snapshot_digest from retrainings where ended_at is null and refit_snapshot_digest is not null
  union select snapshot_digest from sweeps where ended_at is null and snapshot_digest is not null`

/** The same, and snapshots that soon may be. */
const snapshotsInUse = sql`
  ${snapshotsBeingRead}
  union select digest from snapshots where created_at > now() - make_interval(hours => ${youngHours})`

export interface NamedArtifact extends Pick<ArtifactGroup, 'digest' | 'inUse' | 'kind' | 'madeMs'> {
  /** The files of a version. For an artifact without a version, the manifest in the store lists the files. */
  files?: Manifest['files']
  /** Snapshots that the version was trained or evaluated on. */
  standsOn: string[]
}

/** Lists all artifacts whose files are kept. */
export const listArtifacts = (database: Database) =>
  rowsFrom(database).list<NamedArtifact>(sql`
    select named.digest, (extract(epoch from max(named.at)) * 1000)::float8 as made_ms,
      (select manifest -> 'files' from versions where artifact_digest = named.digest and manifest ? 'files' limit 1) as files,
      case when exists (select from versions where artifact_digest = named.digest and known_good_at is not null) then 'proven'
        when exists (select from versions where artifact_digest = named.digest and not drill) then 'version'
        else 'candidate' end as kind,
      named.digest in (${artifactsInUse}) as in_use,
      array(
        select snapshot_digest from trainings where artifact_digest = named.digest
        union select snapshot_digest from evaluations where artifact_digest = named.digest
        union select requests from evaluations
          cross join lateral (values (report #>> '{compression,requests,digest}'), (report #>> '{compression,taughtRequests,digest}')) as asked (requests)
          where artifact_digest = named.digest and requests is not null) as stands_on
    from (${namings}) as named
    where named.digest not in (select digest from deleted_artifacts)
    group by named.digest order by named.digest`)

export interface NamedSnapshot extends Pick<ArtifactGroup, 'digest' | 'inUse' | 'madeMs'> {
  /** The digest of the list of its data subjects. */
  subjects?: string
}

/** Lists all snapshots whose files are kept. */
export const listKeptSnapshots = (database: Database) =>
  rowsFrom(database).list<NamedSnapshot>(sql`
    select digest, source ->> 'subjects' as subjects, (extract(epoch from created_at) * 1000)::float8 as made_ms,
      digest in (${snapshotsInUse}) as in_use
    from snapshots where dropped_at is null order by digest`)

/**
 * Lists the inputs of running batches, which are stored among the snapshots, and the files from which running trainings and batches
 * resume, which are stored among the checkpoints. The input of a batch that has ended is read no more.
 */
export async function listOtherFiles(
  database: Database,
): Promise<{ inputs: string[]; checkpoints: string[] }> {
  const inputs = await rowsFrom(database).column<string>(
    sql`select distinct input_digest from batches where status = 'running' and input_digest is not null`,
  )
  const checkpoints = await rowsFrom(database).column<string>(
    sql`
      select checkpoint_digest from trainings where status = 'running' and checkpoint_digest is not null
      union select digest from batch_shards join batches on batches.id = batch_id
        where status = 'running' and digest is not null`,
  )
  return { inputs, checkpoints }
}

/**
 * Marks an artifact as deleted unless it is in use; returns whether it did. A release that starts at this moment waits for the row of its
 * version, so it starts either before or after, never in between.
 */
export const deleteArtifact = (store: Store, digest: string): Promise<boolean> =>
  store.transaction(async (database) => {
    await database.query(sql`select from versions where artifact_digest = ${digest} for update`)
    const given = await database.query(sql`
      insert into deleted_artifacts (digest)
      select ${digest} where ${digest} not in (${artifactsInUse})
      on conflict do nothing returning digest`)
    return given.length > 0
  })

/** Marks a snapshot as deleted, unless a kept artifact depends on it. */
export const deleteSnapshot = (database: Database, digest: string) =>
  rowsFrom(database).any(sql`
    update snapshots set dropped_at = now()
    where digest = ${digest} and dropped_at is null and digest not in (${snapshotsInUse})
      and not exists (select from trainings where snapshot_digest = snapshots.digest and artifact_digest is not null
        and artifact_digest not in (select digest from deleted_artifacts))
    returning digest`)

/** Lists the packages with which the artifacts of kept versions were trained, each with its `python`. */
export const listNeededPackages = (database: Database) =>
  rowsFrom(database).column<Record<string, string>>(sql`
    select distinct dependencies from trainings
    where dependencies ? 'python' and artifact_digest in (select artifact_digest from versions)
      and artifact_digest not in (select digest from deleted_artifacts)`)

/** Returns the time at which an artifact was marked as deleted, as ISO 8601; undefined while it is kept. */
export async function findDeletedAt(database: Database, digest: string): Promise<string | undefined> {
  const [row] = await database.query<{ deleted_at: Date }>(
    sql`select deleted_at from deleted_artifacts where digest = ${digest}`,
  )
  return row?.deleted_at.toISOString()
}

/** Lists paths of kept files below the folder of the artifacts, the newest 20 of each kind. */
export async function listKnownPaths(database: Database): Promise<string[]> {
  const { column } = rowsFrom(database)
  const artifacts = await column<string>(sql`
    select artifact_digest from versions
    where artifact_digest not in (select digest from deleted_artifacts)
    order by created_at desc limit 20`)
  const snapshots = await column<string>(sql`
    select digest from snapshots where dropped_at is null order by created_at desc limit 20`)
  return [
    ...artifacts.map((digest) => artifactKey('artifacts', digest)),
    ...snapshots.map((digest) => artifactKey('snapshots', digest)),
  ]
}
