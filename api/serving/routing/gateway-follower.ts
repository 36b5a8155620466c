/**
 * Keeps the gateways of models at their routes, for the models whose callers ask a gateway and not a replica. One replica owns a gateway at
 * a time. It sets the weights that it would serve by itself, reads back what the gateway has, and counts what its servers have answered as
 * if this replica had, so that the judges get the same counts.
 */
import {
  changeOf,
  countersOf,
  isReduction,
  lagOf,
  orderOf,
  placeOf,
  refusalOf,
  servedSince,
  traitsOf,
  unreadOf,
  versionsIn,
  type Gateway,
  type GatewayCounters,
  type GatewayOrder,
  type GatewayServer,
  type GivenOrder,
  type Traffic,
} from '../../../domain/serving/gateway.ts'
import { championAlone } from '../../../domain/serving/route.ts'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import { reasonOf } from '../../../domain/errors.ts'
import { openGateway, type GatewayAccess } from '../../../store/gateways/open.ts'
import {
  beginOrder,
  ownGateways,
  releaseGateways,
  writeLook,
  type OwnedGateway,
} from '../../../store/serving/gateways.ts'
import type { Store } from '../../../store/postgres.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import type { Clock } from '../clock.ts'
import { startLoop } from '../poll-loop.ts'
import { sharesOf, type ActiveRoute, type RouteTable } from './route-table.ts'
import type { KillSwitches } from './kill-switches.ts'
import type { Lease, ReplicaRouting } from './routing.ts'

export interface GatewayDeps {
  store: Store
  clock: Clock
  routing: Pick<ReplicaRouting, 'find' | 'tableOf'>
  switches: Pick<KillSwitches, 'readRevision'>
  lease: Lease
  counters: Pick<CounterRegistry, 'add'>
  replica: { id: string }
  leaseMs: number
  access: GatewayAccess
  onError: (what: string, error: unknown) => void
}

const lookMs = 500

export function followGateways(deps: GatewayDeps) {
  const { store, clock, lease, replica, leaseMs, onError } = deps
  const looks = new Map<string, Promise<void>>()
  const opened = new Map<string, Gateway>()
  let ownedAt = -Infinity
  /** One for each traffic, because some remember what they have read. */
  const open = (traffic: Traffic): Gateway => {
    const key = canonicalJson(traffic)
    const gateway = opened.get(key) ?? openGateway(traffic, { ...deps.access, now: clock.wall })
    opened.set(key, gateway)
    return gateway
  }
  const loop = startLoop(
    async () => {
      // Without a lease it would take the candidate from callers of whom another replica may take care.
      const askedAt = clock.now()
      if (askedAt >= lease.until) return
      const owned = await ownGateways(store, { owner: replica.id, leaseMs })
      // Another replica may have owned the others, and has counted from a later time than an adapter that is left over.
      const isKept = clock.now() - ownedAt < leaseMs
      ownedAt = askedAt
      const kept = new Set(isKept ? owned.map(({ traffic }) => canonicalJson(traffic)) : [])
      for (const key of opened.keys()) if (!kept.has(key)) opened.delete(key)
      // A gateway that hangs delays no other one.
      for (const each of owned.filter(({ model }) => !looks.has(model)))
        looks.set(
          each.model,
          lookAt({ ...deps, open }, each)
            .catch((error: unknown) => onError(`the gateway of ${each.model} was not read`, error))
            .finally(() => looks.delete(each.model)),
        )
    },
    { everyMs: lookMs, onError: (error) => onError('the gateways were not read', error) },
  )
  return {
    async stop(): Promise<void> {
      await loop.stop()
      await Promise.all(looks.values())
      await releaseGateways(store, replica.id).catch((error: unknown) =>
        onError('the gateways were not given back', error),
      )
    },
  }
}

async function lookAt(
  deps: GatewayDeps & { open: (traffic: Traffic) => Gateway },
  owned: OwnedGateway,
): Promise<void> {
  const { store, clock, routing, switches, replica } = deps
  const { model, traffic } = owned
  const live = routing.find(model)
  if (live === undefined) return
  const { epoch, generation } = live.route
  const switchRevision = switches.readRevision(model)
  const look = { model, owner: replica.id, epoch, generation, switchRevision }
  const table = routing.tableOf(live, clock.now())
  const gateway = deps.open(traffic)
  try {
    const begin = (order: GatewayOrder) =>
      beginOrder(store, { model, owner: replica.id, forMs: traitsOf(traffic).orderMs, order })
    const found = await compareGateway(gateway, owned, { live, table, begin })
    const { servers, ordered } = found
    const counted: (() => void)[] = []
    const unread = unreadOf(traitsOf(traffic), servers, live.route)
    const counters: GatewayCounters | undefined = unread === undefined ? countersOf(servers) : undefined
    const problem = found.problem ?? unread
    if (found.isCounted && counters !== undefined)
      for (const server of servers) {
        const { served, after } = servedSince(owned.counters?.[server.name], server)
        counters[server.name] = after
        const arm = table.arms.find(({ loaded }) => loaded.version === server.name)
        if (arm) counted.push(() => deps.counters.add(arm.counters, served))
      }
    // First written, so that no request counts twice when that fails, or another replica counts it.
    if (await writeLook(store, { ...look, problem, ordered, counters })) for (const add of counted) add()
  } catch (error) {
    await writeLook(store, { ...look, problem: reasonOf(error) })
  }
}

interface Compared {
  servers: GatewayServer[]
  /** Whether all requests since the last look came by the shares of this table. */
  isCounted: boolean
  ordered?: GivenOrder
  problem?: string
}

/** Sets the gateway to the table where it is not, and says what keeps it from following. */
export async function compareGateway(
  gateway: Gateway,
  { model, traffic, epoch, generation, ordered: set }: OwnedGateway,
  {
    live,
    table,
    begin,
  }: { live: ActiveRoute; table: RouteTable; begin: (order: GatewayOrder) => Promise<boolean> },
): Promise<Compared> {
  const { route } = live
  const { arms, refused } = servedBy(live, table)
  const traits = traitsOf(traffic)
  const order = orderOf(traits, arms, route.proven)
  const place = placeOf(traffic)
  const { versions: servers, stranger } = versionsIn(await gateway.read(), { model, place })
  const uncounted = { servers, isCounted: false }
  if (order === undefined) return { ...uncounted, problem: 'these shares cannot be set with whole weights' }
  const isLess = set !== undefined && isReduction(order, set)
  // Nothing keeps a gateway that was set before from a rollback.
  const refusal = refusalOf(order, servers, place, traits.serverOf) ?? (isLess ? undefined : stranger)
  if (refusal !== undefined) return { ...uncounted, problem: refusal }
  const changed = set?.isPending ? undefined : set && changeOf(set, servers)
  const isSet = set !== undefined && canonicalJson(set) === canonicalJson(order)
  const isSamePlace = epoch === route.epoch && generation === route.generation
  // Another hand may have stopped the candidate: within one route, only less may follow.
  if (changed !== undefined && isSamePlace && (isSet || !isLess)) return { ...uncounted, problem: changed }
  const other = stranger ?? refused
  const lag = lagOf(order, servers)
  // Without leases, an order that was carried out leaves nothing to set, and a pending one would overwrite what another hand has begun.
  if (isSet && (lag === undefined || (changed === undefined && !traits.hasLease)))
    return { servers, isCounted: true, problem: lag ?? other }
  if (!(await begin(order)))
    return { ...uncounted, problem: 'the replica that moves its weights was too slow' }
  const { versions: after } = versionsIn(await gateway.set(order, servers), { model, place })
  return {
    servers: after,
    isCounted: isSet && changed === undefined,
    // Some take a while until an order is in force, and may give it up: it is set again until then.
    ordered: changeOf(order, after) === undefined ? order : { ...order, isPending: true },
    problem: lagOf(order, after) ?? other,
  }
}

/** The arms in force. A gateway can neither answer with a constant nor refuse requests, so its callers keep the known good version. */
function servedBy({ route, override }: ActiveRoute, table: RouteTable) {
  const arms = sharesOf(table)
  const isAnswered = arms.every(({ version }) => version.startsWith(`${route.model}_v`))
  if (isAnswered && override?.fallbackLevel !== 'refused') return { arms }
  const { proven } = route
  return {
    arms: championAlone(route, proven).arms,
    refused: `the kill switch asks for no version, which a gateway cannot do: its callers get ${proven}`,
  }
}
