/**
 * Rolls a version back: moves the champion to the last proven version and waits until every live replica has acknowledged. Idempotent;
 * needs no approval and no healthy candidate.
 */
import type { Recovery, ReleaseState } from '../../domain/release/state.ts'
import { findChampion, findIncompatibilities } from '../../store/registry/champions.ts'
import { listDecisions } from '../../store/release/decisions.ts'
import { findRelease, type StepReport } from '../../store/release/releases.ts'
import { findUnfencedBefore, returnToBaseline } from '../../store/release/rollback.ts'
import { findRoutingPlace } from '../../store/serving/routing.ts'
import { follows } from '../../store/serving/replicas.ts'
import type { Deps } from '../deps.ts'
import { awaitAcknowledgements } from './await-replicas.ts'
import type { Beat } from '../runtime/heartbeat.ts'
import { releaseStep } from './release-step.ts'

type RollBackReport = Extract<StepReport, { kind: 'rolled_back' }>

/** Rolls back the candidate of a release, in any stage. */
export const rollBackCandidate = (deps: Deps) =>
  releaseStep(deps, 'roll_back', async (state, beat) => {
    const { store, log } = deps
    const { id: release, model, version } = state
    const findEpoch = async () => (await findRoutingPlace(store, model))?.epoch
    let wasChampion = false
    for (;;) {
      const epoch = await findEpoch()
      const champion = await store.transaction(async (database) => {
        wasChampion = (await returnToBaseline(database, state)) || wasChampion
        return (await findChampion(database, model))?.version
      })
      const report = await findRecovery(deps, beat, state, wasChampion)
      // A backup restored in the meantime has undone the rollback, and values read since may be from before it. A champion that was
      // moved by hand has no route yet.
      if ((await findEpoch()) !== epoch || report.rollbackResult.champion !== champion) continue
      log.info({ release, version, problems: report.problems, ...report.rollbackResult }, 'rolled back')
      return report
    }
  })

/** Waits until every live replica has acknowledged, and reads the result of the rollback. */
async function findRecovery(
  deps: Deps,
  beat: Beat,
  state: ReleaseState,
  wasChampion: boolean,
): Promise<RollBackReport> {
  const { id, model, version, policy } = state
  const now = await findRoutingPlace(deps.store, model)
  const { problems, silent, atMs } = now
    ? await awaitAcknowledgements(deps, beat, { ...now, model }, policy.watch.acknowledgeMs)
    : { problems: [], silent: [], atMs: 0 }
  // Not awaited: a replica that is gone for good would hold up the end of the release.
  const unfencedBefore = now && (await findUnfencedBefore(deps.store, state, now))
  const cutOff = unfencedBefore ? silent.filter((each) => !follows(each, unfencedBefore)) : []
  const orderedMs = Date.parse((await findRelease(deps.store, id))?.rolledBackAt ?? '') || atMs
  const champion = (await findChampion(deps.store, model))?.version
  // An incompatible target is used too: it served before, and the candidate is known to be worse.
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
    unacknowledged: problems.length === 0 ? undefined : problems,
    cutOff: cutOff.length === 0 ? undefined : cutOff.map((each) => `replica ${each.id} on ${each.host}`),
  }
  return { kind: 'rolled_back', problems, rollbackResult }
}
