/** Starts a real system with a model that has as many known-good versions as the measurement rolls back. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Route } from '../../../domain/serving/route.ts'
import { irisRow, irisSpec } from '../serving/artifact.ts'
import { nextRoute, registerFixtureVersion, writeChampion } from '../serving/registration.ts'
import {
  insertKnownKey,
  startRealSystem,
  type RealSystem,
  type RealSystemOptions,
} from '../servers/system-fixture.ts'

export const fleetModel = 'fleet'
export const row = irisRow

export interface FleetStage extends RealSystem {
  /** Keys of an administrator and of an approver. */
  key: string
  approverKey: string
  artifactRoot: string
}

export async function openFleetStage(options: RealSystemOptions): Promise<FleetStage> {
  const system = await startRealSystem(options)
  const key = await insertKnownKey(system, { name: 'bench', role: 'admin' })
  const approverKey = await insertKnownKey(system, { name: 'ben', role: 'approver' })
  return { ...system, key, approverKey, artifactRoot: system.config.artifactRoot }
}

/** Registers versions that were champion in turn and returns them, oldest first. */
export async function registerChampions(
  { store, artifactRoot }: Pick<FleetStage, 'store' | 'artifactRoot'>,
  count: number,
): Promise<string[]> {
  const versions: string[] = []
  for (let minor = 0; minor < count; minor++)
    versions.push(await registerFixtureVersion(store, artifactRoot, irisSpec(fleetModel, minor + 1), minor))
  for (const version of versions) await writeChampion(store, fleetModel, version)
  return versions
}

/** Routes all traffic to a version and waits until all replicas follow; each keeps the standby loaded. */
export async function routeTo(stage: FleetStage, version: string, standby?: string): Promise<Route> {
  const change = { proven: version, standby }
  const route = await nextRoute(stage.store, fleetModel, change)
  await untilFollowed(stage, route.generation)
  return route
}

/** Reads until the value holds, and returns it. */
export async function untilHolds<T>(
  read: () => Promise<T>,
  holds: (value: T) => boolean,
  { what, everyMs = 20, withinMs = 200_000 }: { what: string; everyMs?: number; withinMs?: number },
): Promise<T> {
  const end = performance.now() + withinMs
  for (;;) {
    const value = await read()
    if (holds(value)) return value
    if (performance.now() > end)
      throw new Error(`not within ${withinMs} ms: ${what}, now ${JSON.stringify(value)}`)
    await pause(everyMs)
  }
}

type ReadyModel = NonNullable<ReadyState['models']>[number]

/** Waits until every replica reports the model so. */
export async function untilEveryReplica(
  { urls, key }: Pick<FleetStage, 'urls' | 'key'>,
  holds: (model: ReadyModel) => boolean,
  of = fleetModel,
): Promise<void> {
  const isSo = ({ models = [] }: ReadyState) => models.some((each) => each.model === of && holds(each))
  for (const url of urls) await untilHolds(() => stateOf(url, key), isSo, { what: `the route at ${url}` })
}

/** Waits until every replica follows at least this generation. */
export const untilFollowed = (
  stage: Pick<FleetStage, 'urls' | 'key'>,
  wanted: number,
  of = fleetModel,
): Promise<void> => untilEveryReplica(stage, ({ generation }) => generation >= wanted, of)

interface ReadyState {
  status?: string
  /** Whether it has lost its lease and serves its last route. */
  stale?: boolean
  models?: { model: string; epoch: number; generation: number; problem?: string }[]
}

/** The readiness report of a replica; empty while it does not answer. */
export const stateOf = (url: string, key: string): Promise<ReadyState> =>
  sayTo(url, key)<ReadyState>('GET', '/readyz').catch(() => ({}))

export const sayTo =
  (url: string, key: string) =>
  async <T>(method: string, path: string, body?: object): Promise<T> => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return (await answer.json()) as T
  }

/** The metrics of a replica, as text. */
export async function metricsOf(url: string, key: string): Promise<string> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${key}` } })
  return answer.text()
}
