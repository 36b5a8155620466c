/**
 * Holds the routes of a replica in memory; a request reads nothing else. A route is followed only when it is newer, valid and all its
 * versions are loaded. Otherwise the last good route stays, without its candidate.
 */
import { hasCandidate, isNewer, routeAt, type Route } from '../../../domain/serving/route.ts'
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { Acknowledgement, RoutingRead, RoutingRow } from '../../../store/serving/replicas.ts'
import type { StandingFallback } from '../../../store/serving/replica-fallbacks.ts'
import type { RoutingSnapshot, VersionOrigin } from './disk-cache.ts'
import type { Clock } from '../clock.ts'
import { createChampionGuards, createGuards } from './circuit-breakers.ts'
import { parseRow } from './parse-route.ts'
import type { KillSwitches } from './kill-switches.ts'
import { buildLive, versionsOf, type ActiveRoute, type RouteTable } from './route-table.ts'
import type { CounterRegistry } from '../counters/arm-counters.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

/** Until when this replica may assume that its routes are current; on the monotonic clock. */
export interface Lease {
  until: number
}

export interface ReplicaRouting {
  /** The table in force at this moment. */
  tableOf(live: ActiveRoute, now: number): RouteTable
  find(model: string): ActiveRoute | undefined
  /** Also true for a model without a route. */
  isKnown(model: string): boolean
  /** Applies what was read from the database by a query sent at `sentAt`. */
  take(read: RoutingRead, sentAt: number): Promise<void>
  /** Applies the snapshot of an earlier process, unless the database has been read. */
  recall(remembered: RoutingSnapshot): Promise<void>
  /** Acknowledgements to store: the generation that each model follows, or the problem. */
  acknowledgements(): Omit<Acknowledgement, 'replica'>[]
  /** Marks one as stored. */
  acknowledged(acknowledgement: Omit<Acknowledgement, 'replica'>): void
  live(): Iterable<ActiveRoute>
  problems(): ReadonlyMap<string, RoutingProblem>
  loaded(): Iterable<LoadedVersion>
  /** The fallback level of each model, with the reason unless it is the champion. */
  fallbackLevels(): StandingFallback[]
  /** Whether routes were read or recalled. */
  isFilled(): boolean
  remembered(): RoutingSnapshot
}

export interface RoutingProblem {
  epoch: number
  generation: number
  text: string
}

/** A version in memory with its signature. */
export interface Held {
  origin: VersionOrigin
  loaded: LoadedVersion
}

export interface RoutingOptions {
  /** The id of this replica: a route may give whole replicas to the candidate. */
  replica: string
  clock: Clock
  lease: Lease
  counters: CounterRegistry
  switches: KillSwitches
  /** Throws when the version cannot be served; a recalled one is read from this disk only. */
  load: (version: string, recalled: boolean) => Promise<Held>
  /** Called just before the route of a model is replaced. */
  beforeFollow: (model: string) => void
  onFollow: (route: Route, cause: 'followed' | 'recalled') => void
  onProblem: (model: string, problem: RoutingProblem) => void
}

export function createRouting(options: RoutingOptions): ReplicaRouting {
  const { clock, lease, counters, switches } = options
  const live = new Map<string, ActiveRoute>()
  const models = new Set<string>()
  const versions = new Map<string, Held>()
  const problems = new Map<string, RoutingProblem>()
  const sentAcknowledgements = new Map<string, string>()
  const guardOf = createGuards(clock)
  const championGuardOf = createChampionGuards(clock)
  let filled = false
  let turn: Promise<unknown> = Promise.resolve()

  const hold = async (version: string, recalled: boolean): Promise<Held> =>
    versions.get(version) ?? (await options.load(version, recalled))
  const applyOverride = (model: ActiveRoute): ActiveRoute => {
    const { loaded } = versions.get(championOf(model.route))!
    model.override = switches.overrideOf(model.route, loaded)
    model.fallback = switches.fallbackOverrideOf(model.route, loaded)
    return model
  }
  const guardOfChampion = (route: Route) => {
    const revision = switches.revisionOf(route.model)
    if (revision === undefined) return undefined
    return championGuardOf({ model: route.model, version: championOf(route), revision })
  }
  const applySwitches = (): void => {
    for (const model of live.values()) {
      applyOverride(model)
      // Setting the kill switch resets the champion's circuit breaker.
      const guard = guardOfChampion(model.route)
      if (guard === model.championGuard) continue
      const held = versionsOf(model.route).map((version) => [version, versions.get(version)!.loaded] as const)
      const here = routeAt(model.route, options.replica)
      const built = buildLive(here, new Map(held), counters, model.guard, guard)
      Object.assign(model, { championGuard: undefined, ...built, route: model.route })
    }
  }
  /** Loads fallback versions ahead of need; a failure does not delay a route. */
  const prepareSwitches = async (recalled: boolean): Promise<void> => {
    await switches.loadFallbacks(async (version) => {
      const held = await hold(version, recalled)
      versions.set(version, held)
      return held.loaded
    })
    forget()
    applySwitches()
  }
  /** Loads the version that a rollback would need; a failure is retried and delays nothing. */
  const prepareStandbys = async (): Promise<void> => {
    for (const { route } of live.values()) {
      if (route.standby === undefined || versions.has(route.standby)) continue
      const held = await options.load(route.standby, false).catch(() => undefined)
      if (held?.loaded.model === route.model) versions.set(route.standby, held)
    }
  }
  const follow = async (route: Route, recalled = false): Promise<void> => {
    const wanted = new Map<string, Held>()
    for (const version of versionsOf(route)) {
      const held = await hold(version, recalled)
      if (held.loaded.model !== route.model)
        throw new Error(`${version} is of the model ${held.loaded.model}`)
      wanted.set(version, held)
    }
    // Together, because `forget` unloads versions that no followed route names.
    for (const [version, held] of wanted) versions.set(version, held)
    options.beforeFollow(route.model)
    counters.close(route.model)
    const here = buildLive(
      routeAt(route, options.replica),
      loadedOf(wanted),
      counters,
      guardOf(route),
      guardOfChampion(route),
    )
    const built = { ...here, route, exposedUntil: 0 }
    live.set(route.model, applyOverride(built))
    problems.delete(route.model)
    forget()
  }
  /** Unloads versions that no route names. */
  const forget = (): void => {
    const named = new Set([...live.values()].flatMap(({ route }) => versionsOf(route)))
    for (const { route } of live.values()) if (route.standby !== undefined) named.add(route.standby)
    for (const version of switches.kept()) named.add(version)
    for (const [version, { loaded }] of versions) {
      if (named.has(version)) continue
      versions.delete(version)
      loaded.predictor.close?.()
    }
  }
  const refuse = (row: RoutingRow, text: string): void => {
    const before = problems.get(row.model)
    const problem = { epoch: row.epoch, generation: row.generation, text }
    problems.set(row.model, problem)
    if (before?.text !== text || before.generation !== row.generation) options.onProblem(row.model, problem)
  }
  const takeRow = async (row: RoutingRow, sentAt: number): Promise<void> => {
    const current = live.get(row.model)
    if (current !== undefined && !isNewer(row, current.route)) {
      if (isNewer(current.route, row)) return
      expose(current, row, sentAt)
      problems.delete(row.model)
      return
    }
    const parsed = parseRow(row)
    if ('problem' in parsed) return refuse(row, parsed.problem)
    try {
      await follow(parsed.route)
      expose(live.get(row.model)!, row, sentAt)
      options.onFollow(parsed.route, 'followed')
    } catch (error) {
      // A newer route exists, so the exposure of the old one is no longer renewed.
      if (current !== undefined) current.exposedUntil = 0
      refuse(row, (error as Error).message)
    }
  }
  const expose = (model: ActiveRoute, { remainingMs, exposedUntilMs }: RoutingRow, sentAt: number): void => {
    // From the time of the query, so that a slow response shortens the exposure and never prolongs it.
    const until = remainingMs === null ? 0 : sentAt + remainingMs
    // An exposure that was not renewed cannot grow, unless the clock of the database was set back.
    const isRenewed = exposedUntilMs !== model.renewedTo
    if (!hasCandidate(model.route)) model.exposedUntil = Infinity
    else model.exposedUntil = isRenewed ? until : Math.min(model.exposedUntil, until)
    model.renewedTo = exposedUntilMs
  }
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const run = turn.then(work)
    turn = run.catch(() => {})
    return run
  }

  return {
    tableOf(model, now) {
      if (model.override?.outlivesLease === true) return model.override.table
      if (model.fallback !== undefined && model.championGuard?.isOpen() === true) return model.fallback.table
      if (now >= lease.until) return model.expiredLease
      if (model.override !== undefined) return model.override.table
      return now >= model.exposedUntil || model.guard?.isOpen() === true
        ? model.withoutCandidate
        : model.complete
    },
    find: (model) => live.get(model),
    isKnown: (model) => models.has(model) || live.has(model),
    take: (read, sentAt) =>
      inTurn(async () => {
        clock.correct(read.databaseMs, sentAt, clock.now())
        models.clear()
        for (const model of read.models) models.add(model)
        // Before the routes, so that loading a version does not delay a kill switch.
        if (switches.take(read.flags, read.fallbacks)) applySwitches()
        await Promise.all(read.rows.map((row) => takeRow(row, sentAt)))
        filled = true
        await prepareSwitches(false)
        await prepareStandbys()
      }),
    recall: (remembered) =>
      inTurn(async () => {
        if (filled) return
        for (const model of remembered.models) models.add(model)
        switches.take(remembered.flags, remembered.fallbacks)
        await prepareSwitches(true)
        for (const route of remembered.routes as Route[]) {
          const row = { ...route, route, remainingMs: null, exposedUntilMs: null }
          const parsed = parseRow(row)
          if ('problem' in parsed) continue
          try {
            await follow(parsed.route, true)
            options.onFollow(parsed.route, 'recalled')
          } catch (error) {
            refuse(row, (error as Error).message)
          }
        }
        filled ||= live.size > 0
      }),
    acknowledgements: () =>
      [...new Set([...live.keys(), ...problems.keys()])].flatMap((model) => {
        const problem = problems.get(model)
        const route = live.get(model)?.route
        const { epoch, generation } = problem ?? route!
        const acknowledgement = { model, epoch, generation, ...(problem ? { problem: problem.text } : {}) }
        return sentAcknowledgements.get(model) === JSON.stringify(acknowledgement) ? [] : [acknowledgement]
      }),
    acknowledged: (acknowledgement) => {
      sentAcknowledgements.set(acknowledgement.model, JSON.stringify(acknowledgement))
    },
    live: () => live.values(),
    problems: () => problems,
    loaded: () => [...versions.values()].map(({ loaded }) => loaded),
    fallbackLevels: () => [
      ...[...live.values()].map(fallbackLevelOf),
      ...[...problems]
        .filter(([model]) => !live.has(model))
        .map(([model, { text }]): StandingFallback => ({ model, level: 'refused', reason: text })),
    ],
    isFilled: () => filled,
    remembered: () => ({
      models: [...models],
      routes: [...live.values()].map(({ route }) => route),
      versions: Object.fromEntries([...versions].map(([version, { origin }]) => [version, origin])),
      ...switches.remembered(),
    }),
  }
}

const championOf = (route: Route): string => route.arms.find(({ arm }) => arm === 'champion')!.version

function fallbackLevelOf({ route, override, fallback, championGuard }: ActiveRoute): StandingFallback {
  const { model } = route
  const nameOf = (level: StandingFallback['level'], { table }: { table: RouteTable }) =>
    level === 'previous' ? table.likeliest.loaded.version : fallbackName(model)
  if (override !== undefined) {
    const reason =
      override.fallbackLevel === 'champion'
        ? ''
        : `the kill switch is set${override.fallbackLevel === 'refused' ? '' : `; ${nameOf(override.fallbackLevel, override)} serves`}`
    return { model, level: override.fallbackLevel, reason }
  }
  if (fallback === undefined || championGuard?.isOpen() !== true)
    return { model, level: 'champion', reason: '' }
  const reason = `${championGuard.version} returns too few valid predictions on this replica; ${nameOf(fallback.fallbackLevel, fallback)} serves`
  return { model, level: fallback.fallbackLevel, reason }
}

const loadedOf = (held: ReadonlyMap<string, Held>): Map<string, LoadedVersion> =>
  new Map([...held].map(([version, { loaded }]) => [version, loaded]))
