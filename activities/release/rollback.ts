/**
 * Rolls a version back: moves the champion to the last proven version and waits until every live replica has acknowledged. Needs no
 * approval, no healthy candidate, and is idempotent.
 */
import type { Recovery, ReleaseState } from '../../domain/release/state.ts'
import type { Route } from '../../domain/serving/route.ts'
import { appendAudit } from '../../store/audit/audit-log.ts'
import {
  findChampion,
  findIncompatibilities,
  listRollbackTargets,
  markVersionRolledBack,
  moveChampion,
} from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import type { Database } from '../../store/postgres.ts'
import { findOpenRelease, findRelease } from '../../store/release/releases.ts'
import { findRouting, listSilentReplicas } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted, returnToBaseline, routeCompletely } from './close-release.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { qualifyVersion } from './qualify.ts'

export interface RollBackReport {
  kind: 'rolled_back'
  problems: string[]
  rollbackResult: Recovery
}

/** Rolls back the candidate of a release, in any stage. */
export const rollBackCandidate =
  (deps: Deps) =>
  async (state: ReleaseState): Promise<RollBackReport> =>
    withHeartbeat(async (beat) => {
      const { store, log } = deps
      const { id: release, model, version } = state
      const findEpoch = async () => (await findRouting(store, model))?.route.epoch
      for (;;) {
        const epoch = await findEpoch()
        const wasChampion = await store.transaction((database) => returnToBaseline(database, state))
        const report = await findRecovery(deps, beat, state, wasChampion)
        // A backup that was restored meanwhile has undone the rollback, and what was read since may be from before it.
        if ((await findEpoch()) !== epoch) continue
        log.info({ release, version, problems: report.problems, ...report.rollbackResult }, 'rolled back')
        return report
      }
    })

/** Waits until every live replica has acknowledged, and reads what the rollback has come to. */
async function findRecovery(
  deps: Deps,
  beat: Beat,
  { id, model, version, policy }: ReleaseState,
  wasChampion: boolean,
): Promise<RollBackReport> {
  const now = await findRouting(deps.store, model)
  const { problems, atMs } = now
    ? await awaitAcknowledgements(deps, beat, now.route, policy.watch.acknowledgeMs)
    : { problems: [], atMs: 0 }
  const orderedMs = Date.parse((await findRelease(deps.store, id))?.rolledBackAt ?? '') || atMs
  const champion = (await findChampion(deps.store, model))?.version
  // A target that fails its check is used too: it served before, and the candidate is known to be worse.
  const mismatches =
    wasChampion && champion !== undefined
      ? await findIncompatibilities(deps.store, { from: version, to: champion })
      : []
  const [last] = await listDecisions(deps.store, id, 1)
  const rollbackResult: Recovery = {
    champion,
    wasChampion,
    incompatibilities: mismatches.length === 0 ? undefined : mismatches,
    decidedMs: last?.verdict.kind === 'fail' ? Date.parse(last.at) : undefined,
    orderedMs,
    acknowledgedMs: Math.max(atMs, orderedMs),
  }
  return { kind: 'rolled_back', problems, rollbackResult }
}

export interface ModelRollback {
  model: string
  by: string
  reason: string
  /** An open release without a running workflow. */
  interrupted?: string
  /** ISO 8601: when the order was given, if not now. */
  recordedAt?: string
}

export type ModelRollbackReport =
  | {
      outcome: 'rolled_back'
      from: string
      to: string
      problems: string[]
      /** Newer proven versions that cannot serve, each with the reason. */
      passedOver: string[]
      tookMs: number
    }
  /** `drill` when the open release is a drill: the order then means the model itself, after the drill has ended. */
  | { outcome: 'open_release'; releaseId: string; drill?: true }
  | { outcome: 'refused'; code: 'no_champion' | 'no_rollback_target' | 'command_refused'; message: string }

/** Returns a model without an open release to its last proven version. */
export const rollBackModel =
  (deps: Deps, { qualify = qualifyVersion } = {}) =>
  async (order: ModelRollback): Promise<ModelRollbackReport> =>
    withHeartbeat(async (beat) => {
      const startedAt = performance.now()
      const unfit = await findUnfit(deps, order.model, qualify)
      const flipped = await deps.store.transaction((database) => flip(database, order, unfit))
      if (!('from' in flipped)) return flipped
      const { from, to, passedOver, route } = flipped
      const { problems } = await awaitAcknowledgements(deps, beat, route, acknowledgeMs)
      // A replica that is cut off returns to the last known good version that it knows of, which is the one rolled back here.
      for (const { id, host, silentMs } of await listSilentReplicas(deps.store, route))
        problems.push(
          `replica ${id} on ${host} has had no lease for ${Math.ceil(silentMs / 1_000)} s and serves ${from} if it still runs`,
        )
      const tookMs = Math.round(performance.now() - startedAt)
      const done = { from, to, problems, passedOver, tookMs }
      deps.log.info({ model: order.model, by: order.by, ...done }, 'rolled back')
      return { outcome: 'rolled_back', ...done }
    })

/** Targets to check before the first one without a known problem is used anyway. */
const mostTried = 3

/**
 * The targets that cannot serve, each with the reason. A version that every replica has loaded has passed its golden rows; any other
 * is loaded once in a separate process.
 */
async function findUnfit(
  deps: Deps,
  model: string,
  qualify: typeof qualifyVersion,
): Promise<Map<string, string>> {
  const unfit = new Map<string, string>()
  const from = (await findChampion(deps.store, model))?.version
  const route = (await findRouting(deps.store, model))?.route
  if (from === undefined) return unfit
  const targets = await listRollbackTargets(deps.store, { model, from })
  const fit = targets.filter(({ issues }) => issues.length === 0)
  for (const { version, artifactDigest } of fit.slice(0, mostTried)) {
    if (route?.standby === version || route?.arms.some((arm) => arm.version === version)) break
    const found = await qualify(deps, { version, digest: artifactDigest })
    if (found.ok) break
    unfit.set(version, found.message)
  }
  return unfit
}

/** How long a rollback waits for lagging replicas before it reports them. */
const acknowledgeMs = 30_000

async function flip(
  database: Database,
  { model, by, reason, interrupted, recordedAt }: ModelRollback,
  unfit: ReadonlyMap<string, string>,
): Promise<
  | { from: string; to: string; route: Route; passedOver: string[] }
  | Exclude<ModelRollbackReport, { outcome: 'rolled_back' }>
> {
  const open = await findOpenRelease(database, model)
  if (open && open.state.id !== interrupted) {
    const { id: releaseId, drill } = open.state
    return { outcome: 'open_release', releaseId, drill: drill === undefined ? undefined : true }
  }
  if (open) {
    await endInterrupted(database, open.state)
    const to = (await findChampion(database, model))?.version
    const now = await findRouting(database, model)
    if (to !== undefined && now) return { from: open.state.version, to, route: now.route, passedOver: [] }
  }
  const champion = await findChampion(database, model)
  const now = await findRouting(database, model)
  if (!champion || !now)
    return { outcome: 'refused', code: 'no_champion', message: `${model} has no champion` }
  const from = champion.version
  if (recordedAt !== undefined && Date.parse(champion.since) > Date.parse(recordedAt))
    return {
      outcome: 'refused',
      code: 'command_refused',
      message: `the order of ${recordedAt} was for an earlier champion; ${from} is champion since ${champion.since}`,
    }
  const { to, passedOver } = chooseTarget(await listRollbackTargets(database, { model, from }), unfit)
  if (to === undefined)
    return {
      outcome: 'refused',
      code: 'no_rollback_target',
      message:
        passedOver.length === 0
          ? `${from} is the only proven version of ${model}, so no rollback target exists`
          : `no proven version of ${model} can serve now: ${passedOver.join('; ')}`,
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

/** The newest target without an issue, and the newer ones with theirs. */
function chooseTarget(
  targets: readonly { version: string; issues: readonly string[] }[],
  unfit: ReadonlyMap<string, string>,
): { to?: string; passedOver: string[] } {
  const passedOver: string[] = []
  for (const { version, issues } of targets) {
    const broken = unfit.get(version)
    const all = broken === undefined ? issues : [...issues, broken]
    if (all.length === 0) return { to: version, passedOver }
    passedOver.push(`${version}: ${all.join(', ')}`)
  }
  return { passedOver }
}
