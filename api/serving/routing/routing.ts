/**
 * Holds the routes of a replica in memory; a request reads nothing else. A route is followed only when it is newer, valid and all its
 * versions are loaded. Otherwise the last good route stays in force, without its candidate.
 */
import type { Route } from '../../../domain/serving/route.ts'
import { fallbackName } from '../../../domain/serving/kill-switch.ts'
import type { Acknowledgement, ActiveFallback } from '../../../store/serving/replicas.ts'
import { firstEpoch, type RoutingRead } from '../../../store/serving/routing.ts'
import type { RoutingSnapshot } from './disk-cache.ts'
import { createRouteFollower, type FollowerOptions, type RoutingProblem } from './route-follower.ts'
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
  fallbackLevels(): ActiveFallback[]
  /** Whether routes were read or recalled. */
  isFilled(): boolean
  remembered(): RoutingSnapshot
}

export interface RoutingOptions extends FollowerOptions {
  lease: Lease
  /** The fields of requests, which are remembered with the routes. */
  fields?: Pick<RequestFields, 'remembered' | 'recall'>
}

export function createRouting(options: RoutingOptions): ReplicaRouting {
  const { clock, lease, switches } = options
  const routes = createRouteFollower(options)
  const { live, versions, problems } = routes
  const models = new Set<string>()
  const sentAcknowledgements = new Map<string, string>()
  let filled = false
  let epochRead = firstEpoch
  let turn: Promise<unknown> = Promise.resolve()

  const inTurn = (work: () => Promise<void>): Promise<void> => {
    const run = turn.then(work)
    turn = run.catch(() => {})
    return run
  }
  const takeRead = async (read: RoutingRead, sentAt: number): Promise<void> => {
    clock.correct(read.databaseMs, sentAt, clock.now())
    models.clear()
    for (const model of read.models) models.add(model)
    // Before the kill switches: that of a deleted model is gone, and its versions may not answer again.
    for (const model of routes.dropLost(read)) sentAcknowledgements.delete(model)
    // Before the routes, so that loading a version does not delay a kill switch.
    if (switches.take(read.flags, read.fallbacks)) routes.applySwitches()
    await Promise.all(read.rows.map((row) => routes.take(row, sentAt)))
    epochRead = read.epoch
    filled = true
    await routes.prepareSwitches(false)
    await routes.prepareStandbys(false)
  }
  const recallSnapshot = async (remembered: RoutingSnapshot): Promise<void> => {
    if (filled) return
    for (const model of remembered.models) models.add(model)
    switches.take(remembered.flags, remembered.fallbacks)
    options.fields?.recall(remembered.fields)
    await routes.prepareSwitches(true)
    for (const route of remembered.routes) await routes.recall(route as Route)
    await routes.prepareStandbys(true)
    routes.applySwitches()
    filled ||= live.size > 0
  }
  const acknowledgementOf = (model: string): Omit<Acknowledgement, 'replica'> => {
    const problem = problems.get(model)
    const { epoch, generation } = problem ?? live.get(model)?.route ?? { epoch: epochRead, generation: 0 }
    return { model, epoch, generation, problem: problem?.text }
  }

  return {
    tableOf: (model, now) => tableInForce(model, now, lease),
    find: (model) => live.get(model),
    isKnown: (model) => models.has(model) || live.has(model),
    take: (read, sentAt) => inTurn(() => takeRead(read, sentAt)),
    recall: (remembered) => inTurn(() => recallSnapshot(remembered)),
    acknowledgements: () =>
      [...new Set([...live.keys(), ...problems.keys(), ...(epochRead > firstEpoch ? models : [])])]
        .map(acknowledgementOf)
        .filter((each) => sentAcknowledgements.get(each.model) !== JSON.stringify(each)),
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
        .map(([model, { text, version }]): ActiveFallback => ({
          model,
          level: 'refused',
          reason: text,
          version,
        })),
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

function tableInForce(model: ActiveRoute, now: number, lease: Lease): RouteTable {
  const { override, fallback } = model
  if (override?.outlivesLease === true) return override.table
  if (model.rolledBack !== undefined && model.rolledBack !== 'none') return model.rolledBack
  if (fallback !== undefined && model.championGuard?.isOpen() === true) return fallback.table
  if (now >= lease.until) return model.expiredLease
  if (override !== undefined) return override.table
  return now >= model.exposedUntil || model.guard?.isOpen() === true ? model.withoutCandidate : model.complete
}

function fallbackLevelOf({ route, override, fallback, championGuard }: ActiveRoute): ActiveFallback {
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
