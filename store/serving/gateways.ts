/**
 * Stores which replica moves the weights of which gateway, and how far the gateway follows the route. A gateway cannot return to the known
 * good version by itself, so a release waits for it although no replica owns it.
 */
import sql from 'sql-template-tag'
import type { GatewayCounters, GatewayOrder, GivenOrder, Traffic } from '../../domain/serving/gateway.ts'
import { rowsFrom } from '../database/from-row.ts'
import { prepared } from '../database/prepared.ts'
import type { Database } from '../postgres.ts'

export interface OwnedGateway {
  model: string
  traffic: Traffic
  /** The place of the route that it was last compared with; generation 0 before. */
  epoch: number
  generation: number
  /** What it was set to; absent before it was first set. */
  ordered?: GivenOrder
  counters?: GatewayCounters
}

/**
 * Takes or keeps the gateways that no other replica owns, never for less time than they are held already, and returns them. Another address or backend is another gateway. A gateway that
 * was set is kept while a release of its model is open, also where the model file names another one or none by now: it may have given the candidate a
 * share. A gateway whose model has none is forgotten afterwards.
 */
export const ownGateways = (
  database: Database,
  { owner, leaseMs }: { owner: string; leaseMs: number },
): Promise<OwnedGateway[]> =>
  rowsFrom(database).list<OwnedGateway>(prepared`
    with wanted as (
      select name as model, coalesce(held.traffic, definition -> 'traffic') as traffic from models
        left join (select gateways.model, traffic from gateways join routing using (model) where ordered is not null and route ? 'release') as held
        on held.model = name
      where held.traffic is not null or definition ? 'traffic'
    ), gone as (
      delete from gateways where model not in (select model from wanted)
        and not exists (select from routing where routing.model = gateways.model and route ? 'release')
    )
    insert into gateways (model, traffic, owner, owned_until)
    select model, traffic, ${owner}, clock_timestamp() + ${leaseMs}::float8 * interval '1 millisecond' from wanted
    on conflict (model) do update set owner = excluded.owner, traffic = excluded.traffic,
      owned_until = greatest(excluded.owned_until, case when gateways.owner = excluded.owner then gateways.owned_until end),
      ordered = case when gateways.traffic = excluded.traffic then gateways.ordered end,
      counters = case when gateways.traffic = excluded.traffic then gateways.counters end
      where gateways.owner = excluded.owner or gateways.owned_until < clock_timestamp()
    returning model, traffic, epoch, generation, ordered, counters`)

/**
 * Notes an order before it is set, because a set without an answer may have been carried out. Keeps the gateway for `forMs`. False when
 * another replica may own it by now: then nothing may be set.
 */
export const beginOrder = (
  database: Database,
  { model, owner, forMs, order }: { model: string; owner: string; forMs: number; order: GatewayOrder },
): Promise<boolean> =>
  rowsFrom(database).any(prepared`
    update gateways set ordered = ${JSON.stringify({ ...order, isPending: true })}::jsonb,
      owned_until = greatest(owned_until, clock_timestamp() + ${forMs}::float8 * interval '1 millisecond')
    where model = ${model} and owner = ${owner} and owned_until > clock_timestamp() returning model`)

/** What a look at a gateway has found. Absent `ordered` and `counters` stay as they are: it could not be read. */
export interface GatewayLook {
  model: string
  owner: string
  epoch: number
  generation: number
  switchRevision: number
  problem?: string
  ordered?: GivenOrder
  counters?: GatewayCounters
}

/** False when another replica owns it by now. */
export const writeLook = (database: Database, look: GatewayLook): Promise<boolean> => {
  const { model, owner, epoch, generation, switchRevision, problem = null, ordered, counters } = look
  return rowsFrom(database).any(prepared`
    with written as (
      update gateways set epoch = ${epoch}, generation = ${generation}, switch_revision = ${switchRevision}, problem = ${problem},
        since = case when problem is not distinct from ${problem} then since else clock_timestamp() end,
        ordered = coalesce(${ordered === undefined ? null : JSON.stringify(ordered)}::jsonb, ordered),
        counters = coalesce(${counters === undefined ? null : JSON.stringify(counters)}::jsonb, counters),
        read_at = case when ${counters !== undefined} then clock_timestamp() else read_at end
      where model = ${model} and owner = ${owner} returning model
    )
    select pg_notify('tenure_acknowledged', model) from written`)
}

/** Gives the gateways of a replica that stops to the others. */
export async function releaseGateways(database: Database, owner: string): Promise<void> {
  await database.query(sql`update gateways set owned_until = clock_timestamp() where owner = ${owner}`)
}

/** A gateway as a release waits for it. */
export interface FollowingGateway {
  model: string
  traffic: Traffic
  owner: string
  epoch: number
  generation: number
  /** The revision of the kill switch that it was last compared with. */
  switchRevision: number
  problem?: string
  /** How long it has had this problem, or has followed. */
  forMs: number
  /** How long its counters have not been read. */
  silentMs: number
  /** How long no replica has owned it; negative while one does. */
  unownedMs: number
}

const listed = sql`select model, traffic, owner, epoch, generation, switch_revision, problem,
  (extract(epoch from clock_timestamp() - since) * 1000)::float8 as for_ms,
  (extract(epoch from clock_timestamp() - read_at) * 1000)::float8 as silent_ms,
  (extract(epoch from clock_timestamp() - owned_until) * 1000)::float8 as unowned_ms from gateways`

export const findGateway = (database: Database, model: string): Promise<FollowingGateway | undefined> =>
  rowsFrom(database).find<FollowingGateway>(prepared`${listed} where model = ${model}`)

export const listGateways = (database: Database): Promise<FollowingGateway[]> =>
  rowsFrom(database).list<FollowingGateway>(sql`${listed} order by model`)

/** Why it does not follow; undefined while it does. */
export const gatewayProblem = ({ problem, unownedMs, silentMs }: FollowingGateway): string | undefined =>
  unownedMs > 0
    ? `no replica has moved its weights for ${Math.round(unownedMs / 1_000)} s`
    : (problem ??
      (silentMs > maxSilentMs
        ? `its counters were not read for ${Math.round(silentMs / 1_000)} s`
        : undefined))

/** Several looks. */
const maxSilentMs = 10_000
