/**
 * Rolls a version back in one transaction: champion, route, audit row, and for the order of a user the command for the workflow of an
 * open release. Needs no worker and no Temporal, because a rollback that waited for them would fail when they are the problem.
 */
import { DomainError } from '../../domain/errors.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import { totalBp, type Route } from '../../domain/serving/route.ts'
import { appendAudit, type Transaction } from '../audit/audit-log.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import type { Database } from '../postgres.ts'
import {
  chooseRollbackTarget,
  findChampion,
  findRecentRollback,
  findRollbackTarget,
  lockChampion,
  isRolledBack,
  listRollbackTargets,
  markVersionRolledBack,
  moveChampion,
  type Champion,
  type RollbackTarget,
} from '../registry/champions.ts'
import {
  findRouting,
  findRoutingPlace,
  writeRoute,
  type Routing,
  type RoutingPlace,
} from '../serving/routing.ts'
import { deliverAnswered, insertCommand, type ReleaseCommand } from '../commands.ts'
import {
  applyCommand,
  applyCommands,
  findOpenRelease,
  findReleasable,
  lockRelease,
  markRolledBack,
  type Release,
} from './releases.ts'

export interface RollbackOrder {
  model: string
  by: string
  reason: string
}

export interface ChampionRollbackOrder extends RollbackOrder {
  /** The champion to roll back. Absent: the present one. */
  from?: string
}

export interface ChampionRollback {
  from: string
  to: string
  route: Route
  /** Newer proven versions that cannot serve, each with the reason. */
  passedOver: string[]
}

export interface RefusedRollback {
  outcome: 'refused'
  code: 'no_champion' | 'no_rollback_target' | 'command_refused'
  message: string
}

const refused = (code: RefusedRollback['code'], message: string): RefusedRollback => ({
  outcome: 'refused',
  code,
  message,
})

/** An order to roll back a release, or a version of a model. */
export interface ServingRollbackOrder extends RollbackOrder {
  /** The release whose candidate is meant; absent when the model is meant. */
  release?: string
  /** The version that is meant; absent when the model has none. */
  version?: string
  /** The id of the command, with the key that sends it and its role. */
  command: Pick<ReleaseCommand, 'id' | 'keyId' | 'role'>
}

export interface ServingRollback {
  outcome: 'rolled_back'
  from: string
  /** Absent when the model has no champion. */
  to?: string
  /** The release whose candidate was rolled back. */
  release?: string
  /** What the replicas must acknowledge; absent when nothing was ever routed. */
  place?: RoutingPlace
  /** See `findUnfencedBefore`. */
  unfencedBefore?: RoutingPlace
  passedOver: string[]
  /** Whether it had already been rolled back. */
  repeated: boolean
}

/**
 * A replica without a lease serves the proven version of the route that it acknowledged last. Returns the place before which that may be
 * the version of this release; undefined when no route can name it as proven. Routes of a first version can, and so can earlier routes
 * when an earlier release has proven the version.
 */
export async function findUnfencedBefore(
  database: Database,
  { version, baseline, epoch, routings: [first] }: ReleaseState,
  now: RoutingPlace,
): Promise<RoutingPlace | undefined> {
  // Without a route, only a restored backup can have lost one.
  if (now.generation === 0) return epoch < now.epoch ? now : undefined
  if (baseline === undefined) return now
  if ((await findReleasable(database, version))?.proven !== true) return undefined
  return first === undefined ? now : { epoch, generation: first.generation }
}

/** Rolls the candidate of a release back, by its own steps or an order. Returns whether the candidate was champion. `actor`: the user who ordered it, if any. */
export async function returnToBaseline(
  database: Database,
  state: ReleaseState,
  actor = 'release',
): Promise<boolean> {
  const { id, model, version, rollbackOrder: order } = state
  // A step that comes after the end changes nothing. From here on, late steps of this release can neither route nor promote.
  if (!(await markRolledBack(database, id))) return wasPromoted(database, state)
  // Locked, because a champion moved by hand between two statements would count as routed.
  const champion = await lockChampion(database, model)
  const now = await findRouting(database, model)
  const reason = order?.reason ?? ''
  const isChampion = champion?.version === version && champion.releaseId === id
  const target = isChampion ? await targetOf(database, state) : champion?.version
  if (isChampion && target !== undefined) {
    await moveChampion(database, {
      model,
      from: version,
      to: target,
      releaseId: id,
      cause: 'rollback',
      actor,
      reason,
    })
    await markVersionRolledBack(database, version)
  } else if (order?.withdraw === true && !isChampion) await markVersionRolledBack(database, version)
  // After the restore of a backup, the champion has a route without a release.
  const written =
    now && target !== undefined && (isChampion || isRouteFor(now.route, state, target))
      ? await routeCompletely(database, { version: target, now: now.route })
      : undefined
  if (written || (isChampion && target !== undefined))
    await appendAudit(database, {
      actor,
      action: isChampion ? 'champion.rolled_back' : 'release.rolled_back',
      subject: isChampion ? version : id,
      model,
      detail: { release: id, from: version, to: target ?? null, reason, route: written?.route ?? null },
    })
  return isChampion || (await wasPromoted(database, state))
}

/**
 * Whether replicas may serve the version because of this route although another one is champion. A restored route names no release and
 * keeps the proven version, which a replica without a lease serves.
 */
export const isRouteFor = (route: Route, { id, version }: ReleaseState, champion: string): boolean =>
  route.release === id || (route.proven === version && champion !== version)

/** Whether an earlier attempt has already moved the champion. */
async function wasPromoted(database: Database, state: ReleaseState): Promise<boolean> {
  if (state.promoted) return true
  const champion = await findChampion(database, state.model)
  return champion?.releaseId === state.id && champion.version !== state.version
}

/** The baseline of the release; if that was rolled back, the last proven version before it. */
export async function targetOf(
  database: Database,
  { model, version, baseline }: ReleaseState,
): Promise<string | undefined> {
  const known = baseline === undefined ? undefined : await findReleasable(database, baseline)
  return known && !known.withdrawn ? baseline : findRollbackTarget(database, { model, from: version })
}

/** Routes everything to one version without a release. The previous version stays loaded for a fast rollback. */
export async function routeCompletely(
  database: Database,
  { version, now }: { version: string; now: Route },
): Promise<Routing> {
  const { model, salt } = now
  const standby = await findRollbackTarget(database, { model, from: version })
  const arms = [{ arm: 'champion' as const, version, shareBp: totalBp }]
  return writeRoute(database, { route: { model, salt, arms, proven: version, standby }, replaces: now })
}

/** Throws `stale_generation` when another writer was first, and `no_rollback_target` when a champion on probation has no predecessor. */
export async function rollBackServing(
  database: Transaction,
  order: ServingRollbackOrder,
  unfit: ReadonlyMap<string, string>,
): Promise<ServingRollback | RefusedRollback> {
  const { model } = order
  const open = await findOpenRelease(database, model)
  // A concurrent promotion ends before the champion is read.
  const isOpen = open !== undefined && (await lockRelease(database, open.state.id))?.endedAt === undefined
  const champion = await findChampion(database, model)
  const route = (await findRouting(database, model))?.route
  if (order.release !== undefined && (!isOpen || order.release !== open.state.id))
    return refused('command_refused', 'the release has ended')
  const { version } = order
  if (isOpen && (order.release !== undefined || version === open.state.version))
    return rollBackOpenCandidate(database, open, order)
  if (version !== undefined && version !== champion?.version && champion && route) {
    const isDone =
      (await isRolledBack(database, { model, version })) ||
      (await findRecentRollback(database, model)) === version
    if (isDone)
      return {
        outcome: 'rolled_back',
        from: version,
        to: champion.version,
        place: route,
        unfencedBefore: route,
        passedOver: [],
        repeated: true,
      }
    return refused(
      'command_refused',
      `${version} does not serve: the champion of ${model} is ${champion.version}`,
    )
  }
  const done = await rollBackChampion(database, { ...order, from: champion?.version }, unfit)
  // Another order has moved the champion since it was read.
  if ('outcome' in done && done.code === 'command_refused')
    throw new DomainError('stale_generation', done.message)
  if ('outcome' in done) return done
  const { route: place, ...moved } = done
  await alertChampionRollback(
    database,
    { model, ...moved, severity: 'warning' },
    `by ${order.by}: ${order.reason}`,
  )
  return { outcome: 'rolled_back', ...moved, place, unfencedBefore: place, repeated: false }
}

/**
 * The version that an order without a version means now: the candidate of the open release when callers get it, otherwise the champion. A
 * version that was just rolled back is still meant, so that two people who order the same rollback roll one version back.
 */
export async function findRollbackSubject(database: Database, model: string): Promise<string | undefined> {
  const open = await findOpenRelease(database, model)
  const champion = await findChampion(database, model)
  const route = (await findRouting(database, model))?.route
  if (open && isExposed(open, { champion, route })) return open.state.version
  const recent = await findRecentRollback(database, model)
  // A version that was not withdrawn may be in another release, which callers do not get.
  return recent === undefined || recent === open?.state.version ? champion?.version : recent
}

/** What an order to roll a model back would do now. */
export interface RollbackPlan {
  from?: string
  to?: string
  /** The open release whose candidate would be rolled back. */
  release?: string
  passedOver: string[]
  /** Why nothing can be rolled back. */
  refusal?: string
}

/** Plans for the version that serves now: a version that was rolled back already is not meant. */
export async function findRollbackPlan(
  database: Database,
  model: string,
  issueOf: (target: RollbackTarget) => Promise<string | undefined>,
): Promise<RollbackPlan> {
  const open = await findOpenRelease(database, model)
  const champion = await findChampion(database, model)
  const route = (await findRouting(database, model))?.route
  if (open && open.rolledBackAt === undefined && isExposed(open, { champion, route })) {
    const { id: release, version: from } = open.state
    const to = champion?.version === from ? await targetOf(database, open.state) : champion?.version
    const refusal = to === undefined ? `${from} is champion and the model has no earlier version` : undefined
    return { from, to, release, passedOver: [], refusal }
  }
  if (!champion || !route) return { passedOver: [], refusal: `${model} has no champion` }
  const from = champion.version
  const unfit = await findUnfit(database, model, issueOf)
  const targets = await listRollbackTargets(database, { model, from })
  const { refusal, ...chosen } = chooseRollbackTarget({ model, from }, targets, unfit)
  return {
    from,
    ...chosen,
    refusal: refusal === undefined ? undefined : `${refusal}${unexposedText(open)}`,
  }
}

/** Names the open release whose candidate no caller gets, which a rollback of the model does not end. */
const unexposedText = (open: Release | undefined): string =>
  open === undefined || open.rolledBackAt !== undefined
    ? ''
    : `; no caller gets ${open.state.version} of its open release: end it with \`tenure abort ${open.state.id}\``

/**
 * Whether callers get the candidate of an open release, or got it before it was rolled back, so that a second order in the same minute
 * does not roll back the baseline too. Callers never see drills, shadows and waiting releases.
 */
function isExposed(
  { state, rolledBackAt }: Release,
  { champion, route }: { champion: Champion | undefined; route: Route | undefined },
): boolean {
  const { id, version, drill } = state
  if (drill !== undefined) return false
  const serves =
    route?.targeted?.version === version ||
    route?.arms.some((arm) => arm.version === version && arm.shareBp > 0) === true
  const isOurs = route?.release === id || champion?.releaseId === id
  return (isOurs && serves) || (rolledBackAt !== undefined && wasExposed(state))
}

const wasExposed = ({ promoted, routings, stage }: ReleaseState): boolean =>
  promoted || routings.length > 0 || stage === 'canary' || stage === 'probation' || stage === 'rolling_back'

/** Orders the rollback of the candidate as a command to its release, and carries it out at once: no workflow is needed. */
async function rollBackOpenCandidate(
  database: Transaction,
  { state: { id, model, version }, rolledBackAt }: Release,
  { command, by, reason }: ServingRollbackOrder,
): Promise<ServingRollback | RefusedRollback> {
  let state = await applyCommands(database, { release: id, seen: 0 })
  if (rolledBackAt === undefined) {
    const given = { ...command, kind: 'rollback', releaseId: id, model, actor: by, reason } as const
    // The API has authorised it. A key that has ended since could give an order that replicas stored while Postgres was unreachable.
    const { role, keyId: key } = command
    if (await insertCommand(database, given)) {
      state = await applyCommand(database, state, given, { role, key, inScope: true })
      await deliverAnswered(database, given.id)
    }
  }
  await returnToBaseline(database, state, by)
  const to = (await findChampion(database, model))?.version
  if (to === version)
    throw new DomainError('no_rollback_target', `${version} is champion and the model has no earlier version`)
  const place = await findRoutingPlace(database, model)
  const unfencedBefore = place && (await findUnfencedBefore(database, state, place))
  const repeated = rolledBackAt !== undefined
  return {
    outcome: 'rolled_back',
    from: version,
    to,
    release: id,
    place,
    unfencedBefore,
    passedOver: [],
    repeated,
  }
}

/** Returns the champion to its last proven version. */
export async function rollBackChampion(
  database: Database,
  { model, by, reason, from: meant }: ChampionRollbackOrder,
  unfit: ReadonlyMap<string, string>,
): Promise<ChampionRollback | RefusedRollback> {
  // The monitor holds no lock of a release: a promotion may be about to change the champion.
  const champion = await lockChampion(database, model)
  const now = await findRouting(database, model)
  if (!champion || !now) return refused('no_champion', `${model} has no champion`)
  const from = champion.version
  if (meant !== undefined && meant !== from)
    return refused('command_refused', `${meant} is champion no more: ${from} is`)
  const targets = await listRollbackTargets(database, { model, from })
  const { to, passedOver, refusal = '' } = chooseRollbackTarget({ model, from }, targets, unfit)
  if (to === undefined) {
    const open = await findOpenRelease(database, model)
    return refused('no_rollback_target', `${refusal}${unexposedText(open)}`)
  }
  await moveChampion(database, { model, from, to, cause: 'rollback', actor: by, reason })
  await markVersionRolledBack(database, from)
  const { route } = await routeCompletely(database, { version: to, now: now.route })
  await appendAudit(database, {
    actor: by,
    action: 'champion.rolled_back',
    subject: from,
    model,
    detail: { from, to, reason, passedOver, generation: route.generation, route },
  })
  return { from, to, route, passedOver }
}

/** Alerts of a champion that was rolled back outside of a release; critical when no user has ordered it. */
export async function alertChampionRollback(
  database: Database,
  {
    model,
    from,
    to,
    severity,
  }: { model: string; from: string; to: string; severity: 'warning' | 'critical' },
  why: string,
  evidence: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await upsertAlert(database, {
    // Per version: a second rollback before the next promotion is news too.
    dedupeKey: `champion_rolled_back/${model}/${from}`,
    model,
    severity,
    kind: 'champion_rolled_back',
    message: `${from} is rolled back to ${to} ${why}`,
    evidence: { version: from, to, ...evidence },
  })
}

/** How many targets are checked before the first one without a known issue is used unchecked. */
const maxTried = 3

/**
 * The targets that cannot serve, each with the reason that `issueOf` finds. A version that every replica has loaded has passed its golden
 * rows; any other is loaded once.
 */
export async function findUnfit(
  database: Database,
  model: string,
  issueOf: (target: RollbackTarget) => Promise<string | undefined>,
): Promise<Map<string, string>> {
  const unfit = new Map<string, string>()
  const from = (await findChampion(database, model))?.version
  const route = (await findRouting(database, model))?.route
  if (from === undefined) return unfit
  const targets = await listRollbackTargets(database, { model, from })
  const fit = targets.filter(({ issues }) => issues.length === 0)
  for (const target of fit.slice(0, maxTried)) {
    const { version } = target
    if (route?.standby === version || route?.arms.some((arm) => arm.version === version)) break
    const issue = await issueOf(target)
    if (issue === undefined) break
    unfit.set(version, issue)
  }
  return unfit
}
