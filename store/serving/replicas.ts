/**
 * Stores the leases and route acknowledgements of replicas and reads the routes. A release continues only when every replica with a lease
 * has acknowledged the newest route.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Fallback, KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import { rowsFrom } from '../database/from-row.ts'
import { readServiceState } from '../database/key-value.ts'
import { prepared } from '../database/prepared.ts'
import type { Database, Store } from '../postgres.ts'
import type { ArtifactIdentity } from '../signing/artifact-signatures.ts'
import { silentForMs } from './observed-leases.ts'
import { fallbackLevelNames, type FallbackLevel } from '../../domain/serving/fallback-level.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import { listRecentReplicas } from './routing.ts'

export interface Replica {
  id: string
  host: string
  pid: number
  url: string
  buildId: string
}

/** Takes or renews the lease, counted from the database's present time. */
export async function renewLease(
  database: Database,
  { replica, leaseMs }: { replica: Replica; leaseMs: number },
): Promise<void> {
  await database.query(prepared`
    insert into replicas (id, host, pid, url, build_id, lease_until, lease_ms)
    values (${replica.id}, ${replica.host}, ${replica.pid}, ${replica.url}, ${replica.buildId},
      clock_timestamp() + ${leaseMs}::double precision * interval '1 millisecond', ${leaseMs}::double precision)
    on conflict (id) do update set lease_until = excluded.lease_until, lease_ms = excluded.lease_ms, url = excluded.url`)
}

/** Deletes replicas that stopped or were found gone a week ago, with their acknowledgements. */
export async function deleteExpiredReplicas(database: Database): Promise<void> {
  await database.query(
    sql`delete from replicas where lease_until < clock_timestamp() - interval '7 days' and lease_ms = 0`,
  )
}

/**
 * Ends the lease and withdraws its acknowledgements, so that nothing waits for this replica. The lease ends in the past and has no
 * length, so the replica counts as gone and not as cut off, whatever the database's clock shows.
 */
export async function endLease(database: Database, id: string): Promise<void> {
  await database.query(sql`
    with ended as (update replicas set lease_until = clock_timestamp() - ${silentForMs} * interval '1 millisecond',
        lease_ms = 0 where id = ${id} returning id),
      stopped as (delete from routing_acknowledgements where replica_id = ${id})
    select pg_notify('tenure_acknowledged', id) from ended`)
}

/** A row of the table `routing`, not validated. */
export interface RoutingRow {
  model: string
  epoch: number
  generation: number
  route: unknown
  /** The remaining exposure of the candidate when the database responded; null without a candidate. */
  remainingMs: number | null
  /** The end of the exposure by the database's clock; it changes only with a renewal. */
  exposedUntilMs: number | null
  /** How long a renewal by the policy of the release exposes the candidate; null without a release. */
  exposureMs: number | null
}

/** The kill switch of a model, as a replica needs it. */
export interface SwitchRow {
  model: string
  serve: KillSwitchMode
  revision: number
}

/** The fallback of a model, as its file declares it; read in advance, because it is needed during outages. */
export interface FallbackRow {
  model: string
  fallback: Fallback
  /** The version that `previous` refers to; null without one. */
  previous: string | null
}

export interface RoutingRead {
  databaseMs: number
  /** The newest routing epoch. */
  epoch: number
  models: string[]
  rows: RoutingRow[]
  flags: SwitchRow[]
  fallbacks: FallbackRow[]
}

/** All routes, models, kill switches and fallbacks, and the time of the database, in one statement. */
export async function readRouting(database: Database): Promise<RoutingRead> {
  const rows = await database.query<RoutingRead>(prepared`
    select extract(epoch from clock_timestamp())::double precision * 1000 as "databaseMs",
      (select coalesce(jsonb_agg(name), '[]') from models) as models,
      (select coalesce(max(epoch), 0) from routing_epochs) as epoch,
      (select coalesce(jsonb_agg(jsonb_build_object(
        'model', model, 'epoch', epoch, 'generation', generation, 'route', route,
        'remainingMs', extract(epoch from exposed_until - clock_timestamp()) * 1000,
        'exposedUntilMs', extract(epoch from exposed_until) * 1000,
        'exposureMs', (select policy #> '{watch,exposureMs}' from releases where id = route ->> 'release'))), '[]')
        from routing) as rows,
      (select coalesce(jsonb_agg(jsonb_build_object('model', model, 'serve', serve, 'revision', revision)), '[]')
        from kill_switches) as flags,
      (select coalesce(jsonb_agg(jsonb_build_object(
        'model', name, 'fallback', definition -> 'fallback', 'previous', previous.version)), '[]')
        from models left join lateral (
          select versions.version from champion_history join versions using (version)
          where champion_history.model = name and known_good_at is not null and rolled_back_at is null
            and versions.version <> (select version from champions where champions.model = name)
          order by champion_history.id desc limit 1
        ) as previous on true
        where jsonb_typeof(definition -> 'fallback') = 'object') as fallbacks`)
  return rows[0]!
}

export interface Acknowledgement {
  replica: string
  model: string
  epoch: number
  generation: number
  /** Why the replica cannot follow; absent when it can. */
  problem?: string
}

export async function acknowledge(database: Database, acknowledgement: Acknowledgement): Promise<void> {
  const { replica, model, epoch, generation, problem } = acknowledgement
  await database.query(prepared`
    with written as (
      insert into routing_acknowledgements (replica_id, model, epoch, generation, problem)
      values (${replica}, ${model}, ${epoch}, ${generation}, ${problem ?? null})
      on conflict (replica_id, model) do update set
        epoch = excluded.epoch, generation = excluded.generation, problem = excluded.problem, at = now()
      returning model
    )
    select pg_notify('tenure_acknowledged', model) from written`)
}

/** The versions with an injected fault: version → share of requests. Empty without a drill. */
export async function readFaults(database: Database): Promise<Record<string, { invalidShare: number }>> {
  return (await readServiceState(database, 'faults')) ?? {}
}

/** Reads the artifact of a version with its signature. Throws `version_not_found`. */
export async function findArtifact(
  database: Database,
  version: string,
): Promise<ArtifactIdentity & { signature?: Buffer }> {
  const found = await rowsFrom(database).find<ArtifactIdentity & { signature?: Buffer }>(
    sql`select version, model, artifact_digest as "artifactDigest", signature from versions where version = ${version}`,
  )
  if (found === undefined)
    throw new DomainError('version_not_found', `there is no version ${JSON.stringify(version)}`)
  return found
}

/** Sets the versions with an injected fault, and clears all others. */
export async function writeFaults(
  database: Database,
  faults: Record<string, { invalidShare: number }>,
): Promise<void> {
  await database.query(sql`
    with written as (
      insert into service_state (name, value) values ('faults', ${JSON.stringify(faults)})
      on conflict (name) do update set value = excluded.value, at = now()
      returning name
    )
    select pg_notify('tenure_routing', name) from written`)
}

// Stores the resources that each replica uses: one row per replica, overwritten.

export interface Resources {
  rssMb: number
  /** Used CPU cores: seconds of CPU time per second. */
  cpuShare: number
  /** The 99th percentile of the event-loop delay. */
  loopDelayMs: number
}

/** Writes nothing for a replica that the database does not know yet. */
export async function writeResources(
  database: Database,
  { replica, rssMb, cpuShare, loopDelayMs }: Resources & { replica: string },
): Promise<void> {
  await database.query(sql`
    insert into replica_resources (replica_id, rss_mb, cpu_share, loop_delay_ms)
    select id, ${rssMb}, ${cpuShare}, ${loopDelayMs} from replicas where id = ${replica}
    on conflict (replica_id) do update set rss_mb = excluded.rss_mb, cpu_share = excluded.cpu_share,
      loop_delay_ms = excluded.loop_delay_ms, at = clock_timestamp()`)
}

// Stores the fallback level of each replica and model, and lists those that alerts report.

export interface ActiveFallback {
  model: string
  level: FallbackLevel
  /** Why it does not serve the champion. */
  reason: string
  /** The version that it cannot load; absent for another reason. */
  version?: string
}

/** The worst level of a model. */
export interface FleetFallback extends ActiveFallback {
  /** The replicas with this level. */
  replicas: string[]
  /** How many replicas have a lease. */
  live: number
}

/** Stores the levels of a replica below the champion, and deletes those that it no longer reports. */
export async function writeFallbacks(
  database: Database,
  { replica, fallbacks }: { replica: string; fallbacks: readonly ActiveFallback[] },
): Promise<void> {
  const rows = JSON.stringify(fallbacks)
  await database.query(sql`
    with given as (select * from jsonb_to_recordset(${rows}::jsonb) as row (model text, level text, reason text, version text)),
      gone as (
        delete from replica_fallbacks where replica_id = ${replica} and model not in (select model from given)
      )
    insert into replica_fallbacks (replica_id, model, level, reason, version)
    select replicas.id, given.model, given.level, given.reason, given.version from given join replicas on replicas.id = ${replica}
    on conflict (replica_id, model) do update set level = excluded.level, reason = excluded.reason,
      version = excluded.version, at = clock_timestamp()`)
}

/**
 * The worst fallback level of each model on any live replica, below the champion; undefined without a live replica, when nothing is
 * known.
 */
export async function listFallbacks(database: Database): Promise<FleetFallback[] | undefined> {
  const rows = await rowsFrom(database).list<Omit<FleetFallback, 'model'> & { model?: string }>(sql`
    select distinct on (model) model, level, reason, version,
      array_agg(id) over (partition by model, level) as replicas,
      (select count(*) from replicas where lease_until > clock_timestamp())::int as live
    from replicas left join replica_fallbacks on replica_id = id
    where lease_until > clock_timestamp()
    order by model, array_position(${[...fallbackLevelNames]}::text[], level) desc, id`)
  if (rows.length === 0) return undefined
  return rows.flatMap(({ model, ...row }) => (model === undefined ? [] : [{ model, ...row }]))
}

/** Keys of the open fallback alerts of all models. */
export const listReportedFallbacks = (database: Database) =>
  rowsFrom(database).column<string>(sql`
    select dedupe_key as key from alerts where dedupe_key like 'fallback/%' and resolved_at is null`)

// Observes the leases of all replicas, and ends those that outlive their replica. A killed replica has not ended its lease, and a database
// clock that was set back prolongs a lease by the step.

export interface IntroducedReplica extends ProcessIdentity {
  id: string
}

/** The payload of the notification that a replica has started. No model can have this name. */
export const replicaStarted = 'replica started'

/**
 * Stores the process of a replica, ends the leases of other replicas of its machine whose process is gone, and notifies the rest.
 * Returns the ids of those that were gone.
 */
export async function introduceReplica(
  database: Database,
  { id, machine, process, isAlive }: IntroducedReplica,
): Promise<string[]> {
  await database.query(sql`update replicas set machine = ${machine}, process = ${process} where id = ${id}`)
  const others = await database.query<{ id: string; process: string }>(sql`
    select id, process from replicas
    where machine = ${machine} and id <> ${id} and lease_until > clock_timestamp() - ${silentForMs} * interval '1 millisecond'
    order by id`)
  const killed = others.filter((each) => !isAlive(each.process)).map((each) => each.id)
  for (const each of killed) await endLease(database, each)
  await database.query(sql`select pg_notify('tenure_routing', ${replicaStarted})`)
  return killed
}

/** Another replica, with its address. */
export type PeerReplica = Pick<Replica, 'id' | 'host' | 'url'>

/**
 * The other replicas whose lease may be in force or ended less than an hour ago: one of those may still serve. A later order waits for
 * silent ones only until this process has observed them for a whole lease.
 */
export async function observePeers(store: Store, id: string): Promise<PeerReplica[]> {
  await shortenLeases(store)
  const { live, silent, gone } = await listRecentReplicas(store)
  if (gone.length > 0)
    await endGoneLeases(
      store,
      gone.map((each) => each.id),
    )
  const others = [...live, ...silent].filter((each) => each.id !== id)
  return others.map(({ id: peer, host, url }) => ({ id: peer, host, url }))
}

/** Shortens each lease that ends later than a renewal at this moment could. */
export async function shortenLeases(database: Database): Promise<void> {
  const reach = sql`clock_timestamp() + coalesce(nullif(lease_ms, 0), ${-silentForMs}) * interval '1 millisecond'`
  await database.query(sql`update replicas set lease_until = ${reach} where lease_until > ${reach}`)
}

/** A starting process need not wait for a replica that another process has observed to be gone. */
async function endGoneLeases(database: Database, ids: readonly string[]): Promise<void> {
  await database.query(sql`
    update replicas set lease_ms = 0
    where id = any(${[...ids]}) and lease_until < clock_timestamp() - ${silentForMs} * interval '1 millisecond'`)
}
