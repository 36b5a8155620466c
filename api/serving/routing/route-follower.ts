/**
 * Follows the routes that a replica has read from the database or recalls from its disk, and loads their versions. A row is refused, with
 * its problem, when its route is invalid, cannot be loaded, or contradicts the route in force, which then stays. A version that no route
 * names is unloaded.
 */
import { z } from 'zod'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import {
  championAlone,
  championOf,
  hasCandidate,
  isNewer,
  issuesOfRoute,
  mayServe,
  routeAt,
  successorOf,
  type Route,
  type RouteArm,
} from '../../../domain/serving/route.ts'
import type { RoutingRead, RoutingRow } from '../../../store/serving/routing.ts'
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
  onFollow: (route: Route, cause: 'followed' | 'recalled' | 'dropped') => void
  onProblem: (model: string, problem: RoutingProblem) => void
}

export interface RoutingProblem {
  epoch: number
  generation: number
  text: string
  /** The version that serves by default, which cannot be loaded; absent when the row itself is refused. */
  version?: string
}

export function createRouteFollower(options: FollowerOptions) {
  const { replica, clock, counters, switches, load, beforeFollow, onFollow, onProblem } = options
  const live = new Map<string, ActiveRoute>()
  const versions = new Map<string, Held>()
  const problems = new Map<string, RoutingProblem>()
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
  const refuse = (row: RoutingRow, text: string, version?: string): void => {
    const before = problems.get(row.model)
    const problem = { epoch: row.epoch, generation: row.generation, text, version }
    problems.set(row.model, problem)
    if (before?.text !== text || before.generation !== row.generation) onProblem(row.model, problem)
  }
  /** Loads the versions of a route. Throws when one cannot be served. The candidate is not exposed yet. */
  const follow = async (route: Route, cause: 'followed' | 'recalled'): Promise<ActiveRoute> => {
    const wanted = new Map<string, Held>()
    for (const version of versionsOf(route)) {
      const held = await hold(version, cause === 'recalled')
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
    problems.delete(route.model)
    onFollow(route, cause)
    return built
  }
  return {
    live,
    versions,
    /** Why the newest row of a model was refused, by model. */
    problems: problems as ReadonlyMap<string, RoutingProblem>,
    applySwitches,
    /** Follows the route of a row that a query sent at `sentAt` has read, and renews the exposure of its candidate. */
    async take(row: RoutingRow, sentAt: number): Promise<void> {
      const current = live.get(row.model)
      if (current !== undefined && !isNewer(row, current.route)) {
        const lost = lostRoute(current, row)
        if (lost !== undefined) return refuse(row, lost)
        renewExposure(current, row, sentAt)
        problems.delete(row.model)
        return
      }
      const parsed = parseRow(row)
      if ('problem' in parsed) return refuse(row, parsed.problem)
      try {
        renewExposure(await follow(parsed.route, 'followed'), row, sentAt)
      } catch (error) {
        // A newer route exists, so the exposure of the old one is no longer renewed.
        if (current !== undefined) current.exposedUntil = 0
        const champion = parsed.route.arms.find(({ arm }) => arm === 'champion')?.version
        refuse(row, (error as Error).message, champion)
      }
    },
    /** Follows a route from before the start of this process, with its candidate unexposed. */
    async recall(route: Route): Promise<void> {
      const row = { ...route, route, remainingMs: null, exposedUntilMs: null, exposureMs: null }
      const parsed = parseRow(row)
      if ('problem' in parsed) return
      await follow(parsed.route, 'recalled').catch((error: Error) => refuse(row, error.message))
    },
    /**
     * Drops the routes of deleted models, and those that a restored database has lost: of models that were first released after the backup.
     * Their versions are no longer served, because nothing there could roll them back. Returns the models.
     */
    dropLost({ epoch, rows, models }: Pick<RoutingRead, 'epoch' | 'rows' | 'models'>): string[] {
      const routed = new Set(rows.map(({ model }) => model))
      const dropped: string[] = []
      for (const model of new Set([...live.keys(), ...problems.keys()])) {
        const route = live.get(model)?.route
        const isLost = route !== undefined && route.epoch < epoch
        if (routed.has(model) || (models.includes(model) && !isLost)) continue
        dropped.push(model)
        problems.delete(model)
        if (route === undefined) continue
        beforeFollow(model)
        counters.close(model)
        live.delete(model)
        unloadUnnamed()
        onFollow(route, 'dropped')
      }
      return dropped
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

function renewExposure(model: ActiveRoute, row: RoutingRow, sentAt: number): void {
  const { remainingMs, exposedUntilMs, exposureMs } = row
  // Counted from the time of the query, so that a slow response shortens the exposure and never prolongs it. More time than a renewal
  // gives is left only when the database's clock was set back.
  const until = remainingMs === null ? 0 : sentAt + Math.min(remainingMs, exposureMs ?? Infinity)
  // An exposure that was not renewed cannot grow, unless the clock of the database was set back.
  const isRenewed = exposedUntilMs !== model.renewedTo
  if (!hasCandidate(model.route)) model.exposedUntil = Infinity
  else model.exposedUntil = isRenewed ? until : Math.min(model.exposedUntil, until)
  model.renewedTo = exposedUntilMs
}

/**
 * Why this database lacks the route that this replica follows: it was restored, or has lost its last writes. The generation of such a
 * route is not acknowledged, because it would count as a newer one.
 */
function lostRoute(current: ActiveRoute, row: RoutingRow): string | undefined {
  const { epoch, generation } = current.route
  const remedy = 'the database has lost what it knew: tenure restore --after-point-in-time raises its epoch'
  if (isNewer(current.route, row))
    return `this replica follows generation ${generation} of epoch ${epoch}, which is newer; ${remedy}`
  const text = JSON.stringify(row.route)
  if (current.readText === text) return undefined
  const parsed = parseRow(row)
  if ('problem' in parsed) return parsed.problem
  if (canonicalJson(parsed.route) !== canonicalJson(current.route))
    return `this replica follows another route of generation ${generation}; ${remedy}`
  current.readText = text
  return undefined
}

// Parses a row of the routing table and rejects an invalid one, because an operator may have edited it by hand.

const text = (name: string) => z.string(`${name} is not a text`)
/** Accepts any value; `issuesOfRoute` then judges it. */
const number = (name: string) =>
  z.custom<number>((value) => typeof value === 'number', `${name} is not a number`)

const noVersion = 'an arm names no version'
const arm = z.object(
  {
    arm: z.enum(['canary', 'champion', 'control'] satisfies RouteArm['arm'][], {
      error: ({ input }) => `there is no arm ${String(input)}`,
    }),
    version: z.string(noVersion).min(1, noVersion),
    shareBp: number('the share of an arm'),
  },
  'an arm is not an object',
)

const noGuard = 'guard is not {rate, alpha}, both between 0 and 1'
const share = z.number(noGuard).gt(0, noGuard).lt(1, noGuard)
const noLatency = 'latencyUs is not {p95, p99}'
const latency = z.number(noLatency).min(0, noLatency)
const noReplicas = 'replicas is not a list of ids'
const noTick = 'tickMs is not a whole number from 1'
const noShadow = 'the shadow names no version'
const noTarget = 'targeted is not {version, target} with a header, an attribute or routingKeys'
const named = <Value extends z.ZodType>(value: Value) =>
  z.strictObject({ name: z.string(noTarget), value }, noTarget)

const shape: z.ZodType<Route> = z.strictObject(
  {
    model: text('model'),
    epoch: number('epoch'),
    generation: number('generation'),
    release: text('release').optional(),
    salt: text('salt'),
    arms: z.array(arm, 'arms is not a list'),
    shadow: z
      .object({ version: z.string(noShadow), shareBp: number('the shadow share') }, noShadow)
      .optional(),
    targeted: z
      .strictObject(
        {
          version: z.string(noTarget),
          target: z.union(
            [
              z.strictObject({ header: named(z.string(noTarget)) }),
              z.strictObject({ attribute: named(z.union([z.string(), z.number()])) }),
              z.strictObject({ routingKeys: z.array(z.string()) }),
            ],
            noTarget,
          ),
        },
        noTarget,
      )
      .optional(),
    replicas: z.array(z.string(noReplicas), noReplicas).min(1, noReplicas).optional(),
    proven: text('proven'),
    standby: text('standby').min(1, 'standby is not a text').optional(),
    tickMs: z.int(noTick).min(1, noTick).optional(),
    latencyUs: z.object({ p95: latency, p99: latency }, noLatency).optional(),
    guard: z.object({ rate: share, alpha: share }, noGuard).optional(),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `the field ${issue.keys.join(', ')} is unknown`
        : 'it is not an object',
  },
)

/** Parses a row. Returns the route, or why the row is invalid. */
export function parseRow(
  row: Pick<RoutingRow, 'model' | 'epoch' | 'generation' | 'route'>,
): { route: Route } | { problem: string } {
  const { data, error } = shape.safeParse(row.route)
  const issues = data === undefined ? error.issues.map(({ message }) => message) : issuesIn(data, row)
  return data !== undefined && issues.length === 0
    ? { route: data }
    : { problem: `the route is refused: ${[...new Set(issues)].join('; ')}` }
}

const issuesIn = (route: Route, row: Pick<RoutingRow, 'model' | 'epoch' | 'generation'>): string[] => [
  ...issuesOfRoute(route),
  ...(['model', 'epoch', 'generation'] as const)
    .filter((name) => route[name] !== row[name])
    .map((name) => `${name} is ${route[name]} in the route and ${row[name]} in its row`),
]
