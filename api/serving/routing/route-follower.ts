/**
 * Loads the versions of routes and replaces the routes that a replica follows. A route is followed only when all its versions are loaded; a
 * version that no route names is unloaded.
 */
import {
  championAlone,
  championOf,
  mayServe,
  routeAt,
  successorOf,
  type Route,
} from '../../../domain/serving/route.ts'
import type { Clock } from '../clock.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'
import { createChampionGuards, createGuards, type ChampionGuard } from './circuit-breakers.ts'
import type { VersionOrigin } from './disk-cache.ts'
import type { KillSwitches } from './kill-switches.ts'
import type { PendingRollbacks } from './pending-rollbacks.ts'
import { buildLive, buildTable, versionsOf, type ActiveRoute, type RouteTable } from './route-table.ts'

/** A version in memory with its signature. */
export interface Held {
  origin: VersionOrigin
  loaded: LoadedVersion
}

export interface FollowerOptions {
  /** The id of this replica, because a route may assign whole replicas to the candidate. */
  replica: string
  clock: Clock
  counters: CounterRegistry
  switches: KillSwitches
  /** Loads a version. Throws when it cannot be served. A recalled version is read only from this disk. */
  load: (version: string, recalled: boolean) => Promise<Held>
  /** The rollbacks that this replica stores while Postgres is unreachable. */
  rollbacks?: Pick<PendingRollbacks, 'of'>
  /** Called just before the route of a model is replaced. */
  beforeFollow: (model: string) => void
}

export type RouteFollower = ReturnType<typeof createRouteFollower>

export function createRouteFollower(options: FollowerOptions) {
  const { replica, clock, counters, switches, load, beforeFollow } = options
  const live = new Map<string, ActiveRoute>()
  const versions = new Map<string, Held>()
  const guardOf = createGuards(clock)
  const championGuardOf = createChampionGuards(clock)

  const hold = async (version: string, recalled: boolean): Promise<Held> =>
    versions.get(version) ?? (await load(version, recalled))
  const build = (route: Route, guard: ActiveRoute['guard'], championGuard: ChampionGuard | undefined) => {
    const held = versionsOf(route).map((version) => [version, versions.get(version)!.loaded] as const)
    return { ...buildLive(routeAt(route, replica), new Map(held), counters, guard, championGuard), route }
  }
  const guardOfChampion = (route: Route): ChampionGuard | undefined => {
    const revision = switches.revisionOf(route.model)
    if (revision === undefined) return undefined
    return championGuardOf({ model: route.model, version: championOf(route), revision })
  }
  const applySwitches = (): void => {
    for (const model of live.values()) {
      applyOverrides(model, versions, options)
      // Setting the kill switch resets the champion's circuit breaker.
      const guard = guardOfChampion(model.route)
      if (guard === model.championGuard) continue
      Object.assign(model, build(model.route, model.guard, guard))
    }
  }
  const unloadUnnamed = (): void => {
    const named = new Set(switches.kept())
    for (const { route } of live.values()) {
      for (const version of versionsOf(route)) named.add(version)
      if (route.standby !== undefined) named.add(route.standby)
    }
    for (const [version, { loaded }] of versions) {
      if (named.has(version)) continue
      versions.delete(version)
      loaded.predictor.close?.()
    }
  }
  return {
    live,
    versions,
    applySwitches,
    /** Loads the versions of a route. Throws when one cannot be served. The candidate is not exposed yet. */
    async follow(route: Route, recalled: boolean): Promise<ActiveRoute> {
      const wanted = new Map<string, Held>()
      for (const version of versionsOf(route)) {
        const held = await hold(version, recalled)
        if (held.loaded.model !== route.model)
          throw new Error(`${version} is of the model ${held.loaded.model}`)
        wanted.set(version, held)
      }
      // Together, because versions that no followed route names are unloaded.
      for (const [version, held] of wanted) versions.set(version, held)
      beforeFollow(route.model)
      counters.close(route.model)
      const built = { ...build(route, guardOf(route), guardOfChampion(route)), exposedUntil: 0 }
      applyOverrides(built, versions, options)
      live.set(route.model, built)
      unloadUnnamed()
      return built
    },
    /** Stops serving a model. */
    drop(model: string): void {
      beforeFollow(model)
      counters.close(model)
      live.delete(model)
      unloadUnnamed()
    },
    /** Loads fallback versions ahead of need; a failure does not delay a route. */
    async prepareSwitches(recalled: boolean): Promise<void> {
      await switches.loadFallbacks(async (version) => {
        const held = await hold(version, recalled)
        versions.set(version, held)
        return held.loaded
      })
      unloadUnnamed()
      applySwitches()
    },
    /** Loads the version that a rollback would need; a failure is retried and delays nothing. */
    async prepareStandbys(recalled: boolean): Promise<void> {
      for (const { route } of live.values()) {
        if (route.standby === undefined || versions.has(route.standby)) continue
        const held = await load(route.standby, recalled).catch(() => undefined)
        if (held?.loaded.model === route.model) versions.set(route.standby, held)
      }
    },
    /** Returns why this replica cannot serve a version; undefined when it can. The version stays loaded until the next change. */
    async issueOf(version: string): Promise<string | undefined> {
      try {
        versions.set(version, await hold(version, false))
        return undefined
      } catch (error) {
        return (error as Error).message
      }
    },
  }
}

/** Sets what serves in place of a route: under its kill switch, with an open circuit breaker, and after a stored rollback. */
function applyOverrides(
  model: ActiveRoute,
  versions: ReadonlyMap<string, Held>,
  { switches, counters, rollbacks }: FollowerOptions,
): void {
  const { route } = model
  const champion = versions.get(championOf(route))!.loaded
  const proven = versions.get(route.proven)!.loaded
  model.override = switches.overrideOf(route, { champion, proven })
  model.fallback = switches.fallbackOverrideOf(route, champion)
  // All rollbacks count, so that none restores a version that another one rolls back.
  const rolledBack = new Set(rollbacks?.of(route.model).map(({ version }) => version))
  model.rolledBack = tableWithout(rolledBack, route, { versions, counters })
}

/** Returns the table without rolled-back versions; undefined when the route names none of them. */
function tableWithout(
  rolledBack: ReadonlySet<string>,
  route: Route,
  { versions, counters }: { versions: ReadonlyMap<string, Held>; counters: CounterRegistry },
): RouteTable | 'none' | undefined {
  if (![...rolledBack].some((version) => mayServe(route, version))) return undefined
  const successor = successorOf(route, rolledBack)
  const loaded = successor === undefined ? undefined : versions.get(successor)?.loaded
  if (loaded === undefined) return 'none'
  const alone = championAlone(route, loaded.version)
  return buildTable(alone, { versions: new Map([[loaded.version, loaded]]), counters })
}
