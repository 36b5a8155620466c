/**
 * Writes the database rows of API replicas: leases, acknowledgements, and counters of traffic that the test sets. The real replicas have
 * their own tests; release tests need situations that real replicas rarely reach.
 */
import sql from 'sql-template-tag'
import { setTimeout as pause } from 'node:timers/promises'
import { isError } from '../../../domain/errors.ts'
import {
  hasCandidate,
  isNewer,
  routeAt,
  withoutCandidate,
  type Route,
} from '../../../domain/serving/route.ts'
import { writeTicks, type CountedArm, type TickCounts } from '../../../store/release/evidence.ts'
import type { Database, Store } from '../../../store/postgres.ts'
import { acknowledge, renewLease } from '../../../store/serving/replicas.ts'
import type { RoutingRow } from '../../../store/serving/routing.ts'

/** The traffic of one model and the responses of its versions. */
export interface Traffic {
  /** Requests of all clients per tick and replica. */
  requests: number
  /** Version → share of its responses that are invalid. */
  invalid: Map<string, number>
  /** Whether counters are written. */
  counting: boolean
  /** Replicas that do not follow new routes of this model: silently (undefined), or reporting this problem. */
  deaf: Map<string, string | undefined>
  /** Version → requests answered since the start. */
  answered: Map<string, number>
}

export interface Fleet {
  replicas: readonly string[]
  /** Replicas that no longer renew their lease. */
  dead: Set<string>
  trafficOf(model: string): Traffic
  stop(): Promise<void>
}

const stepMs = 40
/** Maximum ticks that one step writes after the process was stopped. */
const maxTicks = 20

/** Ignores a statement that Postgres answered too late. The next step writes its ticks again, as a replica does. */
function unlessLate(error: unknown): void {
  if (!isError(error, 'postgres_unavailable')) throw error
}

type RouteRow = Omit<RoutingRow, 'exposedUntilMs' | 'exposureMs'>

/**
 * Reads routes with a candidate and routes that are not yet followed, by the database clock. Reading all routes of all models of a test at
 * each step would take a tenth of a core.
 * @param followed Model → epoch and generation that all replicas follow.
 */
async function readRoutes(
  store: Store,
  followed: Readonly<Record<string, string>>,
): Promise<{ databaseMs: number; rows: RouteRow[] }> {
  const [read] = await store.query<{ databaseMs: number; rows: RouteRow[] }>(sql`
    select extract(epoch from clock_timestamp())::double precision * 1000 as "databaseMs",
      (select coalesce(jsonb_agg(jsonb_build_object(
        'model', model, 'epoch', epoch, 'generation', generation, 'route', route,
        'remainingMs', extract(epoch from exposed_until - clock_timestamp()) * 1000)), '[]')
        from routing where route ->> 'release' is not null
          or ${JSON.stringify(followed)}::jsonb ->> model is distinct from epoch || ' ' || generation) as rows`)
  return read!
}

export function startFleet(
  store: Store,
  { replicas, tickMs, leaseMs = 20_000 }: { replicas: readonly string[]; tickMs: number; leaseMs?: number },
): Fleet {
  const stopping = new AbortController()
  const traffic = new Map<string, Traffic>()
  /** Replica and model → the route that the replica follows. */
  const following = new Map<string, Route>()
  const followed: Record<string, string> = {}
  const dead = new Set<string>()
  /** When each lease is due for renewal: ten times per lease duration. */
  const renewAtMs = new Map<string, number>()
  let tick = 0

  const trafficOf = (model: string): Traffic => {
    const known = traffic.get(model)
    if (known) return known
    const fresh = {
      requests: 200,
      invalid: new Map(),
      counting: true,
      deaf: new Map(),
      answered: new Map<string, number>(),
    }
    traffic.set(model, fresh)
    return fresh
  }

  const follow = async (id: string, row: RouteRow) => {
    const { model, epoch, generation } = row
    const now = following.get(`${id} ${model}`)
    const { deaf } = trafficOf(model)
    const problem = deaf.get(id)
    if ((now && !isNewer(row, now)) || (deaf.has(id) && problem === undefined)) return
    if (problem === undefined) following.set(`${id} ${model}`, { ...(row.route as Route), epoch, generation })
    try {
      await acknowledge(store, { replica: id, model, epoch, generation, ...(problem ? { problem } : {}) })
    } catch (error) {
      following.delete(`${id} ${model}`)
      // The database was restored and has no row of the replica; the replica registers again.
      if ((error as { code?: unknown }).code !== '23503') throw error
      renewAtMs.delete(id)
    }
  }

  const countsOf = (id: string, row: RouteRow, atMs: number): TickCounts[] => {
    const { model, remainingMs } = row
    const followed = following.get(`${id} ${model}`)
    const route = followed && routeAt(followed, id)
    const { requests, invalid, answered, counting } = trafficOf(model)
    if (route?.release === undefined || !counting) return []
    const exposed = remainingMs !== null && remainingMs > 0
    const isComplete = exposed || !hasCandidate(route)
    const serving = isComplete ? route : withoutCandidate(route)
    const share = (bp: number) => Math.round((requests * bp) / 10_000)
    const counted = (arm: CountedArm, version: string, served: number): TickCounts => {
      answered.set(version, (answered.get(version) ?? 0) + served)
      // Requests without the candidate count for no release.
      const count = isComplete ? served : 0
      return {
        model,
        release: route.release,
        version,
        arm,
        generation: route.generation,
        tickMs: atMs,
        lengthMs: tickMs,
        requests: count,
        errors: 0,
        invalid: Math.round(count * (invalid.get(version) ?? 0)),
        slow95: 0,
        slow99: 0,
        latency: { 100: count },
      }
    }
    const shareOf = (version: string) => serving.arms.find((each) => each.version === version)?.shareBp ?? 0
    return [
      ...route.arms.map(({ arm, version }) => counted(arm, version, share(shareOf(version)))),
      ...(route.targeted
        ? [counted('targeted', route.targeted.version, exposed ? Math.round(requests / 20) : 0)]
        : []),
      ...(route.shadow
        ? [counted('shadow', route.shadow.version, exposed ? share(route.shadow.shareBp) : 0)]
        : []),
    ]
  }

  const renew = async (id: string) => {
    if (performance.now() < (renewAtMs.get(id) ?? 0)) return
    renewAtMs.set(id, performance.now() + leaseMs / 10)
    const replica = { id, host: 'test', pid: 1, url: 'http://test', buildId: 'test' }
    await renewLease(store, { replica, leaseMs })
  }

  const step = async () => {
    const { databaseMs, rows } = await readRoutes(store, followed)
    const at = Math.floor(databaseMs / tickMs)
    const living = replicas.filter((each) => !dead.has(each))
    for (const id of living) {
      await renew(id)
      for (const row of rows) await follow(id, row)
    }
    const ended =
      tick === 0
        ? []
        : Array.from({ length: Math.max(0, Math.min(at - tick, maxTicks)) }, (_, i) => at - 1 - i)
    const write = async (database: Database): Promise<void> => {
      for (const id of living) {
        const ticks = ended.flatMap((each) => rows.flatMap((row) => countsOf(id, row, each * tickMs)))
        if (ticks.length > 0) await writeTicks(database, { replica: id, ticks })
      }
    }
    // A verdict that has seen the late ticks of one replica alone could not be repeated from the stored ones.
    await (ended.length > 1 ? store.transaction(write) : write(store))
    for (const { model, epoch, generation } of rows) {
      const follows = (id: string) => {
        const now = following.get(`${id} ${model}`)
        return now?.epoch === epoch && now.generation === generation
      }
      if (replicas.every(follows)) followed[model] = `${epoch} ${generation}`
    }
    tick = at
  }
  const run = async () => {
    while (!stopping.signal.aborted) {
      await step().catch(unlessLate)
      await pause(stepMs)
    }
  }
  const done = run()
  return {
    replicas,
    dead,
    trafficOf,
    stop: async () => {
      stopping.abort()
      await done
    },
  }
}
