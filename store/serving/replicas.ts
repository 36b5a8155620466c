/**
 * Stores the leases and route acknowledgements of replicas, and reads which replicas follow a route. A release continues only when every
 * replica with a lease has acknowledged the newest route.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { rowsFrom } from '../database/from-row.ts'
import { readServiceState } from '../database/key-value.ts'
import { prepared } from '../database/prepared.ts'
import type { Database, Store } from '../postgres.ts'
import type { ArtifactIdentity } from '../signing/artifact-signatures.ts'
import { findGateway, gatewayProblem } from './gateways.ts'
import { silentForMs, type StoredLease } from './observed-leases.ts'
import { placeOf, type Traffic } from '../../domain/serving/gateway.ts'
import { isNewer } from '../../domain/serving/route.ts'
import { fallbackLevelNames, type FallbackLevel } from '../../domain/serving/fallback-level.ts'
import type { ProcessIdentity } from '../process-identity.ts'
import type { RoutingPlace } from './routing.ts'

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

/** A replica, and how far it follows the routing of a model. */
export interface ReplicaProgress {
  id: string
  host: string
  url: string
  /** The last place that it acknowledged; absent when it has acknowledged none of this model. */
  acknowledged?: RoutingPlace
  /** Why it could not follow. */
  problem?: string
  /** Where it is the gateway of the model, which follows like a replica. */
  traffic?: Traffic
}

/**
 * A replica without a lease that did not report its stop, so it may be cut off rather than gone. Such a replica serves the known good
 * version of the route that it acknowledged last, which is wrong after the rollback of a version that had ended its release as promoted.
 * A replica that was cut off before its first acknowledgement may have read a route too.
 */
export interface SilentReplica extends ReplicaProgress {
  /** How long its lease has been over. */
  silentMs: number
}

/** For a replica registered before lease lengths were stored: the default of TENURE_REPLICA_LEASE_MS. */
const assumedLeaseMs = 5_000

type RecentReplica = StoredLease & SilentReplica & Partial<RoutingPlace> & { isEnded: boolean }

/**
 * The replicas that have not stopped. A lease without a length was ended, unless the build of its replica stores no length. A stopped
 * replica has withdrawn its acknowledgements; one that was found gone has not.
 */
const readRecent = (database: Database, model: string): Promise<RecentReplica[]> =>
  rowsFrom(database).list<RecentReplica>(prepared`
    select replicas.id, host, url, epoch, generation, problem,
      (extract(epoch from clock_timestamp() - lease_until) * 1000)::float8 as silent_ms,
      (extract(epoch from lease_until) * 1000)::float8 as lease_until_ms,
      coalesce(nullif(lease_ms, 0), ${assumedLeaseMs})::float8 as lease_ms,
      lease_ms is not distinct from 0 as is_ended,
      (extract(epoch from pg_postmaster_start_time()) * 1000)::float8 as server_started_ms
    from replicas left join routing_acknowledgements on replica_id = replicas.id and model = ${model}
    where lease_ms is distinct from 0 or routing_acknowledgements.model is not null
      or lease_until > clock_timestamp() - ${silentForMs} * interval '1 millisecond'
    order by replicas.id`)

const toProgress = ({
  id,
  host,
  url,
  problem,
  silentMs,
  epoch,
  generation,
}: RecentReplica): SilentReplica => ({
  id,
  host,
  url,
  problem,
  silentMs,
  acknowledged: epoch === undefined || generation === undefined ? undefined : { epoch, generation },
})

export interface RecentReplicas {
  /** Replicas whose lease may be in force. */
  live: ReplicaProgress[]
  silent: SilentReplica[]
  /** Replicas whose lease has been over for more than an hour; for a week, those that had acknowledged a route of the model. */
  gone: SilentReplica[]
}

/**
 * The replicas with a lease, and those whose lease has been over for less than an hour, by the monotonic clock of this process. All come from one
 * statement: a replica that starts again after it was killed takes a lease and then ends that of its predecessor, and between two
 * statements both would be missed. Without a model, none has acknowledged anything.
 */
export async function listRecentReplicas(
  store: Pick<Store, 'query' | 'leases'>,
  model = '',
): Promise<RecentReplicas> {
  const sentAt = store.leases.now()
  const rows = await readRecent(store, model)
  const isFoundGone = ({ isEnded, silentMs }: RecentReplica): boolean => isEnded && silentMs >= silentForMs
  const leased = rows.filter((row) => !isFoundGone(row))
  const statuses = store.leases.take(leased, sentAt)
  const recent: RecentReplicas = { live: [], silent: [], gone: rows.filter(isFoundGone).map(toProgress) }
  leased.forEach((row, index) => recent[statuses[index]!].push(toProgress(row)))
  recent.live.push(...(await gatewayProgress(store, model)))
  return recent
}

/** The gateway of the model, if it has one. */
async function gatewayProgress(database: Database, model: string): Promise<SilentReplica[]> {
  if (model === '') return []
  const found = await findGateway(database, model)
  if (found === undefined) return []
  const { traffic, epoch, generation, silentMs } = found
  const host = placeOf(traffic)
  const id = `gateway of ${model}`
  const acknowledged = { epoch, generation }
  return [{ id, host, url: '', acknowledged, problem: gatewayProblem(found), silentMs, traffic }]
}

/** All replicas whose lease has not ended by the database's clock; for display, and for uses where a missing replica does no harm. */
export const listReplicaProgress = async (database: Database, model: string): Promise<ReplicaProgress[]> => [
  ...(await readRecent(database, model)).filter(({ silentMs }) => silentMs < 0).map(toProgress),
  ...(await gatewayProgress(database, model)),
]

/** Whether a replica has acknowledged this place or a later one. */
export const follows = (
  { acknowledged }: Pick<ReplicaProgress, 'acknowledged'>,
  place: RoutingPlace,
): boolean => acknowledged !== undefined && !isNewer(place, acknowledged)

/** The live replicas that do not follow a routing yet, each with the reason; empty when all follow. */
export function laggingReplicas(replicas: readonly ReplicaProgress[], place: RoutingPlace): string[] {
  return replicas.flatMap(({ id, host, acknowledged, problem, traffic }) => {
    const who = traffic ? `the gateway ${host}` : `replica ${id} on ${host}`
    // One that cannot be reached says why.
    if (traffic && problem !== undefined) return [`${who}: ${problem}`]
    if (!follows({ acknowledged }, place))
      return [
        `${who} is still switching (generation ${acknowledged?.generation ?? 0} of ${place.generation})`,
      ]
    return problem === undefined ? [] : [`${who}: ${problem}`]
  })
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
