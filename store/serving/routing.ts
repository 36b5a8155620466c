/**
 * Stores which versions serve each model, and reads which replicas follow. Every write is a compare-and-set on (epoch, generation), so that a
 * frozen writer cannot replace newer routing.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import { isNewer, issuesOfRoute, type Route } from '../../domain/serving/route.ts'
import { servedShares, type ServedShares, type ServingModel } from '../../domain/serving/served.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database, Store } from '../postgres.ts'
import { silentForMs, type StoredLease } from './observed-leases.ts'

/** A position in the order of all routing of a model. Generation 0 precedes the first route. */
export type RoutingPlace = Pick<Route, 'epoch' | 'generation'>

/** The epoch of a database that was never restored. */
export const firstEpoch = 1

export interface Routing {
  route: Route
  /** The time of the write, on the database's clock. */
  writtenMs: number
  /** The remaining exposure of the candidate; absent for a route without one. */
  exposureMs?: number
}

const routingColumns = sql`epoch, generation, route,
  (extract(epoch from updated_at) * 1000)::float8 as written_ms,
  (extract(epoch from exposed_until - clock_timestamp()) * 1000)::float8 as exposure_ms`

/** Epoch and generation come from the columns, which the compare-and-set has compared. */
function toRouting(row: object): Routing {
  const { epoch, generation, route, ...rest } = fromRow<Routing & RoutingPlace>(row)
  return { route: { ...route, epoch, generation }, ...rest }
}

export async function findRouting(database: Database, model: string): Promise<Routing | undefined> {
  const [row] = await database.query(prepared`select ${routingColumns} from routing where model = ${model}`)
  return row && toRouting(row)
}

/** The place that replicas acknowledge: that of the route or, without one after a restore, generation 0 of the restored epoch. */
export async function findRoutingPlace(database: Database, model: string): Promise<RoutingPlace | undefined> {
  const now = await findRouting(database, model)
  if (now !== undefined) return { epoch: now.route.epoch, generation: now.route.generation }
  const epoch = await findEpoch(database)
  return epoch === firstEpoch ? undefined : { epoch, generation: 0 }
}

async function findEpoch(database: Database): Promise<number> {
  const [row] = await database.query<{ epoch: number }>(sql`select max(epoch) as epoch from routing_epochs`)
  return row?.epoch ?? firstEpoch
}

export interface RouteWrite {
  /** The write sets epoch and generation. */
  route: Omit<Route, 'epoch' | 'generation'>
  /** The place that this write replaces; generation 0 for the first route of a model. */
  replaces: RoutingPlace
  /** How long the candidate may be exposed from now on; absent for a route without one. */
  exposureMs?: number
}

/** Writes the next generation and notifies the replicas. Throws `stale_generation` when another writer was first. */
export async function writeRoute(database: Database, write: RouteWrite): Promise<Routing> {
  const { route, replaces, exposureMs } = write
  const epoch = await findEpoch(database)
  const next: Route = { ...route, epoch, generation: replaces.generation + 1 }
  const issues = issuesOfRoute(next)
  if (issues.length > 0)
    throw new DomainError('invalid_route', `the route of ${route.model} is refused: ${issues.join('; ')}`, {
      issues,
    })
  const until =
    exposureMs === undefined ? sql`null` : sql`clock_timestamp() + ${exposureMs} * interval '1 millisecond'`
  const [row] = await database.query(
    replaces.generation === 0
      ? sql`insert into routing (model, epoch, generation, route, exposed_until, updated_at)
          values (${route.model}, ${epoch}, 1, ${JSON.stringify(next)}, ${until}, clock_timestamp())
          on conflict (model) do nothing returning ${routingColumns}`
      : sql`update routing set epoch = ${epoch}, generation = ${next.generation}, route = ${JSON.stringify(next)},
            exposed_until = ${until}, updated_at = clock_timestamp()
          where model = ${route.model} and epoch = ${replaces.epoch} and generation = ${replaces.generation}
          returning ${routingColumns}`,
  )
  if (!row)
    throw new DomainError(
      'stale_generation',
      `the routing of ${route.model} is no longer that of generation ${replaces.generation}`,
      { model: route.model, replaces },
    )
  await database.query(sql`select pg_notify('tenure_routing', ${route.model})`)
  return toRouting(row)
}

export interface Renewal extends RoutingPlace {
  model: string
  release: string
  /** The time at which the evidence was read, on the database's clock. The exposure counts from then. */
  observedMs: number
  exposureMs: number
}

/**
 * Extends the exposure of the candidate. It counts from the time of the evidence and not from now, so that a watcher that was frozen
 * between reading and renewing adds nothing. An exposure that ends later than any renewal could was written before the database's clock
 * was set back, and is replaced. False when the routing has changed.
 */
export async function renewExposure(database: Database, renewal: Renewal): Promise<boolean> {
  const { model, release, epoch, generation, observedMs, exposureMs } = renewal
  const rows = await database.query(prepared`
    update routing set exposed_until = least(
      greatest(exposed_until, to_timestamp(${observedMs}::float8 / 1000) + ${exposureMs} * interval '1 millisecond'),
      clock_timestamp() + ${exposureMs} * interval '1 millisecond')
    where model = ${model} and epoch = ${epoch} and generation = ${generation} and route ->> 'release' = ${release}
    returning model`)
  if (rows.length > 0) await database.query(sql`select pg_notify('tenure_routing', ${model})`)
  return rows.length > 0
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
  return recent
}

/** All replicas whose lease has not ended by the database's clock; for display, and for uses where a missing replica does no harm. */
export const listReplicaProgress = async (database: Database, model: string): Promise<ReplicaProgress[]> =>
  (await readRecent(database, model)).filter(({ silentMs }) => silentMs < 0).map(toProgress)

/** Whether a replica has acknowledged this place or a later one. */
export const follows = (
  { acknowledged }: Pick<ReplicaProgress, 'acknowledged'>,
  place: RoutingPlace,
): boolean => acknowledged !== undefined && !isNewer(place, acknowledged)

/** The live replicas that do not follow a routing yet, each with the reason; empty when all follow. */
export function laggingReplicas(replicas: readonly ReplicaProgress[], place: RoutingPlace): string[] {
  return replicas.flatMap(({ id, host, acknowledged, problem }) => {
    const who = `replica ${id} on ${host}`
    if (!follows({ acknowledged }, place))
      return [`${who} is at generation ${acknowledged?.generation ?? 0} of ${place.generation}`]
    return problem === undefined ? [] : [`${who}: ${problem}`]
  })
}

/**
 * What serves each model now, by the leases and acknowledgements of its replicas and the exposure of its candidate. Every page, command and
 * response that names a share reads it here. Without models, of all.
 */
export async function readServedShares(
  database: Database,
  models?: readonly string[],
): Promise<ReadonlyMap<string, ServedShares>> {
  const rows = await rowsFrom(database).list<ServingModel & RoutingPlace & { model: string }>(sql`
    select routing.model, routing.epoch, routing.generation, route, kill_switches.serve,
      (extract(epoch from exposed_until - clock_timestamp()) * 1000)::float8 as exposure_ms,
      coalesce((
        select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', id, 'epoch', told.epoch, 'generation', told.generation, 'problem', problem)))
        from replicas left join routing_acknowledgements as told on replica_id = id and told.model = routing.model
        where lease_until > clock_timestamp()), '[]') as replicas
    from routing left join kill_switches on kill_switches.model = routing.model
    where ${models === undefined} or routing.model = any(${models ?? []})`)
  return new Map(
    rows.map(({ epoch, generation, route, ...rest }) => [
      rest.model,
      servedShares({ ...rest, route: { ...route, epoch, generation } }),
    ]),
  )
}
