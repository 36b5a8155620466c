/** Stores drills: the fault each one rehearses, when the fault began, was detected and was over, and whether the drill passed. */
import sql from 'sql-template-tag'
import { defaultDrill, issueOfLastDrill, type DrillKind, type DrillPolicy } from '../../domain/drill.ts'
import { DomainError } from '../../domain/errors.ts'
import type { ReleasePolicy } from '../../domain/release/policy.ts'
import * as schema from '../../domain/schema.ts'
import { findChampion } from '../registry/champions.ts'
import { ofModel, type ModelFilter } from '../database/filter.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import type { Database } from '../postgres.ts'
import type { Manifest } from '../../domain/model/manifest.ts'
import { lockVersions, type Version } from '../registry/versions.ts'

export const drillRow = schema.record(
  {
    /** `drl_…` */
    id: schema.text,
    model: schema.text,
    kind: schema.textOf<DrillKind>(),
    traffic: schema.textOf<DrillPolicy['traffic']>(),
    requestedBy: schema.text,
    harmBudget: schema.count,
    /** False for a skipped drill, which shows nothing about the defence. */
    held: schema.flag,
    evidence: schema.data,
    startedAt: schema.time,
  },
  {
    version: schema.text,
    releaseId: schema.text,
    /** The replica that was silenced. */
    replicaId: schema.text,
    beganAt: schema.time,
    detectedAt: schema.time,
    recoveredAt: schema.time,
    /** The time from the fault to its detection, and to its end. */
    detectionMs: schema.number,
    recoveryMs: schema.number,
    detectedBy: schema.text,
    /** Requests to the candidate. */
    exposed: schema.count,
    /** Callers who got a failed or invalid response from it. */
    harmed: schema.count,
    passed: schema.flag,
    message: schema.text,
    endedAt: schema.time,
  },
)
export type Drill = schema.TypeOf<typeof drillRow>

export type NewDrill = Pick<Drill, 'id' | 'model' | 'kind' | 'traffic' | 'requestedBy' | 'harmBudget'>

/**
 * Opens a drill, with the policy of its release. Opening the same drill again succeeds; another open drill of the model throws
 * `drill_in_progress`.
 */
export async function insertDrill(
  database: Database,
  drill: NewDrill & { policy?: ReleasePolicy; workflowId?: string },
): Promise<void> {
  const { id, model, kind, traffic, requestedBy, harmBudget, policy, workflowId = null } = drill
  const [row] = await database.query(sql`
    insert into drills (id, model, workflow_id, kind, traffic, requested_by, harm_budget, policy)
    values (${id}, ${model}, ${workflowId}, ${kind}, ${traffic}, ${requestedBy}, ${harmBudget},
      ${policy === undefined ? null : JSON.stringify(policy)})
    on conflict do nothing returning id`)
  if (row !== undefined || (await findDrill(database, id)) !== undefined) return
  throw new DomainError('drill_in_progress', `another drill of ${model} has not ended`, { model })
}

/** The open drills of a model, with their workflow and the first run of it. */
export const listOpenDrills = (database: Database, model: string) =>
  rowsFrom(database).list<{ id: string; workflowId: string; runId: string }>(sql`
    select id, coalesce(workflow_id, 'drill/' || model) as workflow_id, left(substr(id, 5), -2) as run_id
    from drills where model = ${model} and ended_at is null`)

/** Closes the drills of a workflow that was ended from outside. By id, because the next drill may be open already. */
export const closeAbandonedDrills = (database: Database, ids: readonly string[]) =>
  rowsFrom(database).column<string>(sql`
    update drills set passed = false, message = 'its workflow was ended from outside', ended_at = clock_timestamp()
    where id = any(${ids}) and ended_at is null returning id`)

export async function setDrillVersion(
  database: Database,
  { id, version }: { id: string; version: string },
): Promise<void> {
  await database.query(sql`update drills set version = ${version} where id = ${id}`)
}

/** The release that an open drill requests. */
export interface DrillOrder extends Pick<Drill, 'model' | 'kind' | 'requestedBy'> {
  version: string
  policy?: ReleasePolicy
}

/** Stores the release of an open drill, which has one; the first stays. Undefined for another, and before the drill has a candidate. */
export const takeDrillOrder = (
  database: Database,
  { id, model, releaseId }: { id: string; model: string; releaseId: string },
) =>
  rowsFrom(database).find<DrillOrder>(sql`
    update drills set release_id = ${releaseId}
    where id = ${id} and model = ${model} and ended_at is null and version is not null
      and coalesce(release_id, ${releaseId}) = ${releaseId}
    returning model, kind, version, policy, requested_by`)

/** What the simulation of an outage is about. Undefined without an open drill of this kind that has a candidate. */
export const findOutage = (database: Database, { id, kind }: Pick<Drill, 'id' | 'kind'>) =>
  rowsFrom(database).find<{ model: string; policy: ReleasePolicy }>(sql`
    select model, policy from drills
    where id = ${id} and kind = ${kind} and ended_at is null and version is not null and policy is not null`)

/** Why the release of a drill was not opened. */
export const findDrillRefusal = (database: Database, id: string) =>
  rowsFrom(database).value<string>(sql`select failure ->> 'message' from drills where id = ${id}`)

/** Silences one live replica for a while. Returns its id; the same one for the same drill. */
export async function silenceReplica(
  database: Database,
  { id, silentMs }: { id: string; silentMs: number },
): Promise<string | undefined> {
  const replica = await rowsFrom(database).value<string>(sql`
    update drills set
      replica_id = coalesce(replica_id, (select id from replicas where lease_until > clock_timestamp() order by id desc limit 1)),
      silent_until = coalesce(silent_until, clock_timestamp() + ${silentMs}::float8 * interval '1 millisecond'),
      began_at = coalesce(began_at, clock_timestamp())
    where id = ${id} returning replica_id`)
  if (replica !== undefined) await database.query(sql`select pg_notify('tenure_routing', 'drill')`)
  return replica
}

/** For how many more milliseconds this replica must stay silent; 0 when no drill has selected it. */
export async function readSilence(database: Database, replica: string): Promise<number> {
  const ms = await rowsFrom(database).value<number>(sql`
    select coalesce(max(extract(epoch from silent_until - clock_timestamp()) * 1000), 0)::float8 as ms
    from drills where replica_id = ${replica} and ended_at is null`)
  return Math.max(0, ms ?? 0)
}

/** Whether the watch of this release must stop now. Returned once, so that the next watcher continues. */
export const readSimulatedOutage = (database: Database, releaseId: string) =>
  rowsFrom(database).any(sql`
    update drills set silenced_at = clock_timestamp(), began_at = clock_timestamp()
    where release_id = ${releaseId} and kind = 'dead-worker' and silenced_at is null and ended_at is null returning id`)

/** Whether the stage of a silenced watch has been observed since. */
export const isWatchTakenOver = (database: Database, id: string): Promise<boolean> =>
  rowsFrom(database).any(sql`
    select id from drills join stage_clocks on stage_clocks.release_id = drills.release_id
    where drills.id = ${id} and stage_clocks.observed_at > drills.silenced_at`)

/** Records the detection on the database's clock; the first call counts. */
export async function markDetected(
  database: Database,
  { id, detectedBy }: Pick<Drill, 'id' | 'detectedBy'>,
): Promise<void> {
  await database.query(sql`
    update drills set detected_at = coalesce(detected_at, clock_timestamp()), detected_by = coalesce(detected_by, ${detectedBy ?? null})
    where id = ${id}`)
}

/** Records the recovery on the database's clock; the first call counts. */
export async function markRecovered(database: Database, id: string): Promise<void> {
  await database.query(
    sql`update drills set recovered_at = coalesce(recovered_at, clock_timestamp()) where id = ${id}`,
  )
}

export interface DrillEnd extends Required<
  Pick<Drill, 'id' | 'passed' | 'message' | 'exposed' | 'harmed' | 'evidence'>
> {
  /** Milliseconds on the database's clock. Absent fields keep the stored values. */
  beganMs?: number
  detectedMs?: number
  recoveredMs?: number
  detectedBy?: string
}

/** Records the end. False when it was already recorded. */
export async function closeDrill(database: Database, end: DrillEnd): Promise<boolean> {
  const at = (ms: number | undefined) => sql`to_timestamp(${ms ?? null}::float8 / 1000)`
  return rowsFrom(database).any(sql`
    update drills set passed = ${end.passed}, message = ${end.message}, exposed = ${end.exposed}, harmed = ${end.harmed},
      evidence = ${JSON.stringify(end.evidence)}, began_at = coalesce(${at(end.beganMs)}, began_at),
      detected_at = coalesce(${at(end.detectedMs)}, detected_at), recovered_at = coalesce(${at(end.recoveredMs)}, recovered_at),
      detected_by = coalesce(${end.detectedBy ?? null}, detected_by), ended_at = clock_timestamp()
    where id = ${end.id} and ended_at is null returning id`)
}

/** Records a skipped drill, whether or not it was opened. False when it had already ended. */
export const recordUnheldDrill = (
  database: Database,
  { id, model, kind, traffic, requestedBy, harmBudget, message }: NewDrill & { message: string },
) =>
  rowsFrom(database).any(sql`
    insert into drills (id, model, kind, traffic, requested_by, harm_budget, passed, message, evidence, ended_at)
    values (${id}, ${model}, ${kind}, ${traffic}, ${requestedBy}, ${harmBudget}, false, ${message}, '{"held": false}',
      clock_timestamp())
    on conflict (id) do update set passed = false, message = excluded.message, evidence = excluded.evidence,
      ended_at = excluded.ended_at
    where drills.ended_at is null returning id`)

export async function findDrill(database: Database, id: string): Promise<Drill | undefined> {
  const [row] = await database.query(sql`select ${drillColumns} from drills where id = ${id}`)
  return row && toDrill(row)
}

/** The newest first. */
export async function listDrills(
  database: Database,
  filter: ModelFilter & {
    /** Only those that started before the drill of this id. */
    before?: string
    limit?: number
  } = {},
): Promise<Drill[]> {
  const { before = null, limit = 50 } = filter
  const rows = await database.query(sql`
    select ${drillColumns} from drills where ${ofModel(filter)}
      and (${before}::text is null or (started_at, id) < (select started_at, id from drills where id = ${before}))
    order by started_at desc, id desc limit ${limit}`)
  return rows.map(toDrill)
}

/**
 * Why the drills of a model do not allow a release with this policy; undefined when they do. The first champion needs no drill, because a
 * candidate cannot be built yet.
 */
export async function issueOfDrills(
  database: Database,
  { model, policy }: { model: string; policy: Pick<ReleasePolicy, 'requireDrill' | 'drill'> },
): Promise<string | undefined> {
  const { requireDrill, drill = defaultDrill } = policy
  if (requireDrill === undefined || (await findChampion(database, model)) === undefined) return undefined
  const last = await rowsFrom(database).list<Parameters<typeof issueOfLastDrill>[0][number]>(sql`
    select distinct on (kind, held) kind, held, passed, coalesce(message, '') as message,
      (extract(epoch from clock_timestamp() - ended_at) * 1000)::float8 as age_ms
    from drills, lateral (select not evidence @> '{"held": false}' as held) as whether
    where model = ${model} and ended_at is not null order by kind, held, ended_at desc`)
  return issueOfLastDrill(last, { withinMs: requireDrill.withinMs, kinds: drill.kinds })
}

const drillColumns = sql`id, model, kind, traffic, requested_by, harm_budget, version, release_id, replica_id, began_at, detected_at,
  recovered_at, detected_by, exposed, harmed, passed, message, evidence, started_at, ended_at`

function toDrill(row: object): Drill {
  const drill = fromRow<Drill>(row)
  const sinceBegun = (end: string | undefined): number | undefined =>
    drill.beganAt && end ? Date.parse(end) - Date.parse(drill.beganAt) : undefined
  return {
    ...drill,
    held: drill.evidence['held'] !== false,
    detectionMs: sinceBegun(drill.detectedAt),
    recoveryMs: sinceBegun(drill.recoveredAt),
  }
}

// Stores the versions that drills are made of, and reads how many requests reached them.

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
