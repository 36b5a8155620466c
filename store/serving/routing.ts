/**
 * Stores and reads which versions serve each model. Every write is a compare-and-set on (epoch, generation), so that a frozen writer cannot
 * replace newer routing.
 */
import sql from 'sql-template-tag'
import { DomainError } from '../../domain/errors.ts'
import type { Fallback, KillSwitchMode } from '../../domain/serving/kill-switch.ts'
import { placeOf } from '../../domain/serving/gateway.ts'
import { issuesOfRoute, type Route } from '../../domain/serving/route.ts'
import { servedShares, type ServedShares, type ServingModel } from '../../domain/serving/served.ts'
import { fromRow, rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import { gatewayProblem, listGateways } from './gateways.ts'
import type { Database } from '../postgres.ts'

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
          -- The parent of a compressed champion comes first, as in a rollback.
          order by versions.version = (
            select lineage #>> '{compression,version}' from champions join versions as live using (version)
            where champions.model = name) desc nulls last, champion_history.id desc limit 1
        ) as previous on true
        where jsonb_typeof(definition -> 'fallback') = 'object') as fallbacks`)
  return rows[0]!
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
  const gateways = new Map((await listGateways(database)).map((each) => [each.model, each]))
  return new Map(
    rows.map(({ epoch, generation, route, ...rest }) => {
      const placed = { ...route, epoch, generation }
      const gateway = gateways.get(rest.model)
      if (gateway === undefined) return [rest.model, servedShares({ ...rest, route: placed })]
      // The callers of such a model ask its gateway, whatever the replicas do.
      const problem = gatewayProblem(gateway)
      const shares = servedShares({
        ...rest,
        route: placed,
        replicas: [{ ...gateway, id: 'gateway', problem }],
      })
      const problems =
        problem === undefined ? shares.problems : [`the gateway ${placeOf(gateway.traffic)}: ${problem}`]
      return [rest.model, { ...shares, problems }]
    }),
  )
}
