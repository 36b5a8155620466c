/**
 * Simulates the outage of a replica or of a watching worker during a drill, and records when the system detected it and recovered. The
 * crash tests cover real process kills.
 */
import { DomainError } from '../../domain/errors.ts'
import {
  findDrill,
  findOutage,
  isWatchTakenOver,
  markDetected,
  markRecovered,
  silenceReplica,
} from '../../store/release/drills.ts'
import { findRelease } from '../../store/release/releases.ts'
import { findRouting } from '../../store/serving/routing.ts'
import { laggingReplicas, listReplicaProgress } from '../../store/serving/replicas.ts'
import type { Deps } from '../deps.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'

const pollMs = 100

/** The outage of an open drill, with the time limit of its simulation. Throws `forbidden` for a drill of another kind. */
async function getOutage({ store }: Deps, drill: Parameters<typeof findOutage>[1]) {
  const found = await findOutage(store, drill)
  if (found === undefined)
    throw new DomainError('forbidden', `${drill.id} is not an open drill "${drill.kind}" with a candidate`)
  const { shadow, stages } = found.policy
  return { ...found, withinMs: shadow?.deadlineMs ?? stages[0]?.deadlineMs ?? 0 }
}

/** Silences a replica during the release. Records when its lease expires and when it follows the routing again. */
export const simulateReplicaLoss =
  (deps: Deps) =>
  async ({ id }: { id: string }): Promise<void> =>
    withHeartbeat(async (beat) => {
      const { store, config } = deps
      const { model, withinMs } = await getOutage(deps, { id, kind: 'lost-replica' })
      const holdsInTime = untilOver(beat, withinMs)
      if (!(await holdsInTime(() => isWatched(deps, id)))) return
      const replica = await silenceReplica(store, { id, silentMs: 2 * config.api.replicaLeaseMs })
      if (replica === undefined) return
      const progress = async () =>
        (await listReplicaProgress(store, model)).filter((each) => each.id === replica)
      const isLost = async () => (await progress()).length === 0
      const isBack = async () => {
        const place = (await findRouting(store, model))?.route
        const mine = await progress()
        return mine.length > 0 && place !== undefined && laggingReplicas(mine, place).length === 0
      }
      if (!(await holdsInTime(isLost))) return
      await markDetected(store, { id })
      if (await holdsInTime(isBack)) await markRecovered(store, id)
    })

/** Records when the exposure ended or another watcher took over, and when watching resumed. */
export const simulateWorkerLoss =
  (deps: Deps) =>
  async ({ id }: { id: string }): Promise<void> =>
    withHeartbeat(async (beat) => {
      const { store } = deps
      const { model, withinMs } = await getOutage(deps, { id, kind: 'dead-worker' })
      const holdsInTime = untilOver(beat, withinMs)
      if (!(await holdsInTime(async () => (await findDrill(store, id))?.beganAt !== undefined))) return
      const isTakenOver = () => isWatchTakenOver(store, id)
      const isNoticed = async () => {
        const exposureMs = (await findRouting(store, model))?.exposureMs
        return (exposureMs !== undefined && exposureMs <= 0) || isTakenOver()
      }
      if (!(await holdsInTime(isNoticed))) return
      await markDetected(store, { id })
      if (await holdsInTime(isTakenOver)) await markRecovered(store, id)
    })

/** Whether every replica has acknowledged the stage and the watch has evaluated it. */
async function isWatched({ store }: Deps, id: string): Promise<boolean> {
  const releaseId = (await findDrill(store, id))?.releaseId
  const state = releaseId === undefined ? undefined : (await findRelease(store, releaseId))?.state
  return state?.routed === true || state?.outcome !== undefined
}

/** Polls until the condition holds. Returns false when the time limit, shared by all polls, has passed. */
function untilOver(beat: Beat, withinMs: number): (holds: () => Promise<boolean>) => Promise<boolean> {
  const endMs = performance.now() + withinMs
  return async (holds) => {
    for (;;) {
      if (await holds()) return true
      if (performance.now() > endMs) return false
      await beat.sleep(pollMs)
    }
  }
}
