/**
 * Holds the routes of a replica in memory; a request reads nothing else. A route is followed only when it is newer, valid and all its
 * versions are loaded. Otherwise the last good route stays in force, without its candidate.
 */
import { canonicalJson } from '../../../domain/canonical-json.ts'
import { hasCandidate, isNewer, type Route } from '../../../domain/serving/route.ts'
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { Acknowledgement, RoutingRead, RoutingRow } from '../../../store/serving/replicas.ts'
import { firstEpoch } from '../../../store/serving/routing.ts'
import type { StandingFallback } from '../../../store/serving/replica-fallbacks.ts'
import type { RoutingSnapshot } from './disk-cache.ts'
import { parseRow } from './parse-route.ts'
import { createRouteFollower, type FollowerOptions } from './route-follower.ts'
import type { RequestFields } from './request-fields.ts'
import type { ActiveRoute, KillSwitchOverride, RouteTable } from './route-table.ts'
import type { LoadedVersion } from '../version/loaded-version.ts'

/** Until when this replica may assume that its routes are current; on the monotonic clock. */
export interface Lease {
  until: number
}

export interface ReplicaRouting {
  /** Returns the table in force at this moment. */
  tableOf(live: ActiveRoute, now: number): RouteTable
  find(model: string): ActiveRoute | undefined
  /** Also true for a model without a route. */
  isKnown(model: string): boolean
  /** Applies the rows that a query sent at `sentAt` has read from the database. */
  take(read: RoutingRead, sentAt: number): Promise<void>
  /** Applies the snapshot of an earlier process, unless the database has been read. */
  recall(remembered: RoutingSnapshot): Promise<void>
  /**
   * Acknowledgements to store: the generation that each model follows, or the problem. In a restored database, a model without a route is
   * acknowledged as generation 0.
   */
  acknowledgements(): Omit<Acknowledgement, 'replica'>[]
  /** Marks an acknowledgement as stored. */
  acknowledged(acknowledgement: Omit<Acknowledgement, 'replica'>): void
  live(): Iterable<ActiveRoute>
  /** Applies the rollbacks that this replica stores, after one was added or removed. */
  applyRollbacks(): void
  /** Why this replica cannot serve a version; undefined when it can. */
  issueOf(version: string): Promise<string | undefined>
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

export interface RoutingOptions extends FollowerOptions {
  lease: Lease
  /** The fields of requests, which are remembered with the routes. */
  fields?: Pick<RequestFields, 'remembered' | 'recall'>
  onFollow: (route: Route, cause: 'followed' | 'recalled' | 'dropped') => void
  onProblem: (model: string, problem: RoutingProblem) => void
}

export function createRouting(options: RoutingOptions): ReplicaRouting {
  const { clock, lease, switches } = options
  const routes = createRouteFollower(options)
  const { live, versions } = routes
  const models = new Set<string>()
  const problems = new Map<string, RoutingProblem>()
  const sentAcknowledgements = new Map<string, string>()
  let filled = false
  let epochRead = firstEpoch
  let turn: Promise<unknown> = Promise.resolve()

  const refuse = (row: RoutingRow, text: string): void => {
    const before = problems.get(row.model)
    const problem = { epoch: row.epoch, generation: row.generation, text }
    problems.set(row.model, problem)
    if (before?.text !== text || before.generation !== row.generation) options.onProblem(row.model, problem)
  }
  const follow = async (route: Route, cause: 'followed' | 'recalled'): Promise<ActiveRoute> => {
    const model = await routes.follow(route, cause === 'recalled')
    problems.delete(route.model)
    options.onFollow(route, cause)
    return model
  }
  const takeRow = async (row: RoutingRow, sentAt: number): Promise<void> => {
    const current = live.get(row.model)
    if (current !== undefined && !isNewer(row, current.route)) {
      const lost = lostRoute(current, row)
      if (lost !== undefined) return refuse(row, lost)
      expose(current, row, sentAt)
      problems.delete(row.model)
      return
    }
    const parsed = parseRow(row)
    if ('problem' in parsed) return refuse(row, parsed.problem)
    try {
      expose(await follow(parsed.route, 'followed'), row, sentAt)
    } catch (error) {
      // A newer route exists, so the exposure of the old one is no longer renewed.
      if (current !== undefined) current.exposedUntil = 0
      refuse(row, (error as Error).message)
    }
  }
  /**
   * A database restored from a backup has no route for a model that was first released after the backup. The version is no longer served,
   * because nothing there could roll it back.
   */
  const dropLost = ({ epoch, rows }: RoutingRead): void => {
    const routed = new Set(rows.map(({ model }) => model))
    for (const [model, { route }] of live) {
      if (routed.has(model) || route.epoch >= epoch) continue
      routes.drop(model)
      problems.delete(model)
      options.onFollow(route, 'dropped')
    }
  }
  const expose = (model: ActiveRoute, row: RoutingRow, sentAt: number): void => {
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
  const recallRoute = async (route: Route): Promise<void> => {
    const row = { ...route, route, remainingMs: null, exposedUntilMs: null, exposureMs: null }
    const parsed = parseRow(row)
    if ('problem' in parsed) return
    await follow(parsed.route, 'recalled').catch((error: Error) => refuse(row, error.message))
  }
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const run = turn.then(work)
    turn = run.catch(() => {})
    return run
  }

  return {
    tableOf: (model, now) => tableInForce(model, now, lease),
    find: (model) => live.get(model),
    isKnown: (model) => models.has(model) || live.has(model),
    take: (read, sentAt) =>
      inTurn(async () => {
        clock.correct(read.databaseMs, sentAt, clock.now())
        models.clear()
        for (const model of read.models) models.add(model)
        // Before the routes, so that loading a version does not delay a kill switch.
        if (switches.take(read.flags, read.fallbacks)) routes.applySwitches()
        await Promise.all(read.rows.map((row) => takeRow(row, sentAt)))
        dropLost(read)
        epochRead = read.epoch
        filled = true
        await routes.prepareSwitches(false)
        await routes.prepareStandbys(false)
      }),
    recall: (remembered) =>
      inTurn(async () => {
        if (filled) return
        for (const model of remembered.models) models.add(model)
        switches.take(remembered.flags, remembered.fallbacks)
        options.fields?.recall(remembered.fields)
        await routes.prepareSwitches(true)
        for (const route of remembered.routes) await recallRoute(route as Route)
        await routes.prepareStandbys(true)
        routes.applySwitches()
        filled ||= live.size > 0
      }),
    acknowledgements: () =>
      [...new Set([...live.keys(), ...problems.keys(), ...(epochRead > firstEpoch ? models : [])])].flatMap(
        (model) => {
          const problem = problems.get(model)
          const { epoch, generation } = problem ??
            live.get(model)?.route ?? { epoch: epochRead, generation: 0 }
          const acknowledgement = { model, epoch, generation, problem: problem?.text }
          return sentAcknowledgements.get(model) === JSON.stringify(acknowledgement) ? [] : [acknowledgement]
        },
      ),
    acknowledged: (acknowledgement) =>
      void sentAcknowledgements.set(acknowledgement.model, JSON.stringify(acknowledgement)),
    live: () => live.values(),
    applyRollbacks: routes.applySwitches,
    issueOf: routes.issueOf,
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
      fields: options.fields?.remembered(),
      ...switches.remembered(),
    }),
  }
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

function tableInForce(model: ActiveRoute, now: number, lease: Lease): RouteTable {
  const { override, fallback } = model
  if (override?.outlivesLease === true) return override.table
  if (model.rolledBack !== undefined && model.rolledBack !== 'none') return model.rolledBack
  if (fallback !== undefined && model.championGuard?.isOpen() === true) return fallback.table
  if (now >= lease.until) return model.expiredLease
  if (override !== undefined) return override.table
  return now >= model.exposedUntil || model.guard?.isOpen() === true ? model.withoutCandidate : model.complete
}

function fallbackLevelOf({ route, override, fallback, championGuard }: ActiveRoute): StandingFallback {
  const { model } = route
  const serving = ({ table, fallbackLevel }: KillSwitchOverride): string =>
    `; ${fallbackLevel === 'previous' ? table.likeliest.loaded.version : fallbackName(model)} serves`
  if (override !== undefined) {
    const level = override.fallbackLevel
    const instead = level === 'refused' ? '' : serving(override)
    return { model, level, reason: level === 'champion' ? '' : `the kill switch is set${instead}` }
  }
  if (fallback === undefined || championGuard?.isOpen() !== true)
    return { model, level: 'champion', reason: '' }
  const why = `${championGuard.version} returns too few valid predictions on this replica`
  return { model, level: fallback.fallbackLevel, reason: why + serving(fallback) }
}
