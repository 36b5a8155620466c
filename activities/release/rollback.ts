/**
 * Rolls a version back: moves the champion to the last proven version and waits until every live replica has acknowledged. Needs no
 * approval, no healthy candidate, and is idempotent.
 */
import type { Recovery, ReleaseState } from '../../domain/release/state.ts'
import { findChampion, findIncompatibilities } from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import type { Database } from '../../store/postgres.ts'
import { findOpenRelease, findRelease } from '../../store/release/releases.ts'
import { findRouting, listSilentReplicas } from '../../store/serving/routing.ts'
import type { Deps } from '../deps.ts'
import { endInterrupted, returnToBaseline } from '../../store/release/close-release.ts'
import {
  findUnfit,
  rollBackChampion,
  type ChampionRollback,
  type RefusedRollback,
  type RollbackOrder,
} from '../../store/release/rollback.ts'
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

export interface ModelRollback extends RollbackOrder {
  /** An open release without a running workflow. */
  interrupted?: string
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
  | RefusedRollback

/** Returns a model without an open release to its last proven version. */
export const rollBackModel =
  (deps: Deps, { qualify = qualifyVersion } = {}) =>
  async (order: ModelRollback): Promise<ModelRollbackReport> =>
    withHeartbeat(async (beat) => {
      const startedAt = performance.now()
      const unfit = await findUnfit(deps.store, order.model, async ({ version, artifactDigest: digest }) => {
        const found = await qualify(deps, { version, digest })
        return found.ok ? undefined : found.message
      })
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

/** How long a rollback waits for lagging replicas before it reports them. */
const acknowledgeMs = 30_000

async function flip(
  database: Database,
  { interrupted, ...order }: ModelRollback,
  unfit: ReadonlyMap<string, string>,
): Promise<ChampionRollback | Exclude<ModelRollbackReport, { outcome: 'rolled_back' }>> {
  const { model } = order
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
  return rollBackChampion(database, order, unfit)
}
