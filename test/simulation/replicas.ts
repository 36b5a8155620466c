/**
 * Runs the replicas of a run: the real routing cache, leases, tables, guards and counters, in processes that crash, freeze and restart with
 * the contents of their disk, while clients send requests.
 */
import { createClock } from '../../api/serving/clock.ts'
import type { RoutingSnapshot, VersionOrigin } from '../../api/serving/routing/disk-cache.ts'
import { createFailedRequests } from '../../api/serving/counters/failed-requests.ts'
import { startReplicaSync } from '../../api/serving/routing/replica-sync.ts'
import { createRouting, type Lease, type ReplicaRouting } from '../../api/serving/routing/routing.ts'
import { createKillSwitches } from '../../api/serving/routing/kill-switches.ts'
import { armOf, isShadowedRequest, type RouteTable } from '../../api/serving/routing/route-table.ts'
import { createCounterRegistry } from '../../api/serving/counters/arm-counters.ts'
import type { LoadedVersion } from '../../api/serving/version/loaded-version.ts'
import { isError } from '../../domain/errors.ts'
import { findArtifact } from '../../store/serving/replicas.ts'
import type { Store } from '../../store/postgres.ts'
import { wallOf, type Machine, type Server, type World } from '@tenure/simulator'
import { connect } from './postgres/store.ts'

export interface SimulatedReplica {
  machine: Machine
  /** State that survives a crash. */
  disk: { remembered?: RoutingSnapshot }
  /** Absent until the replica serves requests. */
  routing?: ReplicaRouting
  lease?: Lease
  /** The monotonic clock of the current process. */
  now(): number
  /** The connections of the current process. */
  store?: Store
}

/** Returns the id under which the replica's current process registers. */
export const processOf = ({ machine }: Pick<SimulatedReplica, 'machine'>): string =>
  `${machine.name}/${machine.life}`

/** The share of invalid responses of a version. */
export type Behaviour = Map<string, { invalid: number }>

export interface SimulatedResponse {
  replica: SimulatedReplica
  model: string
  key: string
  table: RouteTable
  isFull: boolean
  version: string
  arm: string
  generation: number
  release: string | undefined
}

export interface ReplicaEnvironment {
  world: World
  server: Server
  model: string
  leaseMs: number
  behaviour: Behaviour
  /** Returns the current clients of a replica in a turn. */
  callers: () => number
  /** Returns whether artifacts can be downloaded now. */
  canLoad: (version: string) => boolean
  /** Returns whether a process of a replica runs. All processes of a replica are on one machine. */
  isAlive: (process: string) => boolean
  onAnswer: (answer: SimulatedResponse) => void
}

const turnMs = 220
const people = 60

export function startProcess(replica: SimulatedReplica, around: ReplicaEnvironment): void {
  const { world, server, model, leaseMs } = around
  const { machine, disk } = replica
  const store = connect(world, server, machine)
  const now = () => world.now() - machine.startedMs
  const clock = createClock(now, () => wallOf(world, machine))
  const lease: Lease = { until: 0 }
  const counters = createCounterRegistry(clock)
  const known = new Map(Object.entries(disk.remembered?.versions ?? {}))
  const id = processOf(replica)
  const originOf = async (version: string): Promise<VersionOrigin> => {
    try {
      const { artifactDigest } = await findArtifact(store, version)
      return { model, artifactDigest, signature: '' }
    } catch (error) {
      const before = known.get(version)
      if (before !== undefined && isError(error, 'postgres_unavailable')) return before
      throw error
    }
  }
  const switches = createKillSwitches(counters)
  const routing = createRouting({
    clock,
    lease,
    counters,
    replica: id,
    switches,
    async load(version, recalled) {
      const origin = (recalled ? known.get(version) : undefined) ?? (await originOf(version))
      if (!known.has(version) && !around.canLoad(version)) throw new Error(`${version} cannot be fetched`)
      // Artifacts are downloaded and compiled; meanwhile the previous route stays in force.
      if (!recalled && !known.has(version))
        await new Promise((resolve) => setTimeout(resolve, world.chance(0.2) ? 500 : 20))
      known.set(version, origin)
      return {
        origin,
        loaded: { model, version, manifest: { output: { kind: 'number' } }, predictor: {} } as LoadedVersion,
      }
    },
    beforeFollow: () => {},
    onFollow: ({ epoch, generation }, cause) =>
      world.tell(`${machine.name} follows ${epoch}/${generation} (${cause})`),
    onProblem: (_model, { text }) => world.tell(`${machine.name} cannot follow: ${text}`),
  })
  replica.store = store
  replica.lease = lease
  replica.now = now
  const remembered = disk.remembered && (JSON.parse(JSON.stringify(disk.remembered)) as RoutingSnapshot)
  const starting = Promise.resolve(remembered && routing.recall(remembered)).then(() => {
    const { started } = startReplicaSync({
      store,
      clock,
      lease,
      routing,
      switches,
      counters,
      failures: createFailedRequests(),
      leaseMs,
      drills: false,
      replica: { id, host: machine.name, pid: machine.life, url: '', buildId: 'b' },
      identity: {
        machine: 'host',
        process: id,
        isAlive: around.isAlive,
      },
      cache: {
        recall: () => Promise.resolve({ isEmpty: true, refusals: [] }),
        signedBy: () => 'the key',
        fetch: () => Promise.reject(new Error('nothing is fetched')),
        remember(what) {
          disk.remembered = JSON.parse(JSON.stringify(what)) as RoutingSnapshot
          return Promise.resolve()
        },
        forgetFiles: () => Promise.resolve(),
      },
      histograms: { pending: () => [], markStored: () => {} } as never,
      shadow: { pairs: [] } as never,
      onPeers: () => {},
      onError: (what, error) => world.tell(`${machine.name}: ${what}: ${(error as Error).message}`),
      onFault: () => {},
    })
    return started
  })

  const turn = () => {
    world.after(machine, turnMs * (0.9 + 0.2 * world.random()), turn)
    const live = routing.find(model)
    if (live === undefined) return
    for (let i = around.callers(); i > 0; i--) {
      const key = `caller-${world.int(people)}`
      const table = routing.tableOf(live, clock.now())
      const isChosen = table.targeted?.matches({ routingKey: key, hasFeature: () => false }) === true
      const arm = isChosen ? table.targeted!.arm : armOf(table, key)
      const { version } = arm.loaded
      const isBad = world.chance(around.behaviour.get(version)?.invalid ?? 0)
      const counted = counters.count(arm.counters, 100 + world.int(50), key, isBad ? 'invalid' : undefined)
      arm.guard?.count(isBad && counted)
      const { shadow } = table
      if (shadow && isShadowedRequest(shadow, key)) {
        const shadowBad = world.chance(around.behaviour.get(shadow.arm.loaded.version)?.invalid ?? 0)
        counters.count(shadow.arm.counters, 120, key, shadowBad ? 'invalid' : undefined)
      }
      around.onAnswer({
        replica,
        model,
        key,
        table,
        isFull: table === live.complete,
        version,
        arm: arm.arm,
        generation: live.route.generation,
        release: live.route.release,
      })
    }
  }
  void starting.then(() => {
    replica.routing = routing
    world.after(machine, turnMs, turn)
  })
}

/** Returns every arm that may serve. The arm of targeted callers has no share and counts as an arm with a share. */
export const armsIn = ({ arms, targeted }: RouteTable): RouteTable['arms'] =>
  targeted === undefined ? arms : [...arms, { ...targeted.arm, belowBp: 1 }]

/** Returns the version that the replica would serve now; undefined when it serves nothing. */
export function tableNow(
  replica: SimulatedReplica,
  model: string,
): { table: RouteTable; live: ReturnType<ReplicaRouting['find']> & object } | undefined {
  const { machine, routing } = replica
  const live = routing?.find(model)
  if (!machine.isUp || routing === undefined || live === undefined) return undefined
  return { table: routing.tableOf(live, replica.now()), live }
}
