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
import type { Database } from '../postgres.ts'
import type { ArtifactIdentity } from '../signing/artifact-signatures.ts'
import { silentForMs } from './observed-leases.ts'

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
