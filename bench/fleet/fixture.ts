/** Starts a real system with a model that has as many known-good versions as the measurement rolls back. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Route } from '../../domain/serving/route.ts'
import { insertKey } from '../../store/access/api-keys.ts'
import { irisRow, irisSpec } from '../../test/support/serving/artifact.ts'
import { nextRoute, registerFixtureVersion, writeChampion } from '../../test/support/serving/registration.ts'
import {
  startRealSystem,
  type RealSystem,
  type RealSystemOptions,
} from '../../test/support/servers/system-fixture.ts'

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
  const { key } = await insertKey(system.store, { name: 'bench', role: 'admin' })
  const { key: approverKey } = await insertKey(system.store, { name: 'ben', role: 'approver' })
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

/** Waits until every replica follows at least this generation. */
export async function untilFollowed(
  { urls, key }: Pick<FleetStage, 'urls' | 'key'>,
  generation: number,
  of = fleetModel,
): Promise<void> {
  for (const url of urls) {
    const until = performance.now() + 30_000
    for (;;) {
      const state = await stateOf(url, key)
      if ((state.models?.find((each) => each.model === of)?.generation ?? 0) >= generation) break
      if (performance.now() > until) throw new Error(`${url} has not reached generation ${generation}`)
      await pause(20)
    }
  }
}

interface ReadyState {
  status?: string
  /** Whether it has lost its lease and serves its last route. */
  stale?: boolean
  models?: { model: string; epoch: number; generation: number; problem?: string }[]
}

/** The readiness report of a replica; undefined while it is not ready. */
export async function stateOf(url: string, key: string): Promise<ReadyState> {
  try {
    const answer = await fetch(`${url}/readyz`, { headers: { authorization: `Bearer ${key}` } })
    return (await answer.json()) as ReadyState
  } catch {
    return {}
  }
}
