/**
 * Watches a stage: observe, judge, store, and let the candidate be exposed a little longer, again and again, as one
 * activity. The exposure is renewed by nothing else, so a candidate whose watcher dies is dropped by every replica when
 * the lease lapses; and the clock of the stage is in Postgres, so the next watcher goes on where this one stood.
 */
import { pinReason, type Flag } from '../../domain/serving/kill-switch.ts'
import type { ReleaseState } from '../../domain/release/state.ts'
import type { Verdict, VerdictKind } from '../../domain/verdict.ts'
import { recordObservation } from '../../store/release/decisions.ts'
import { readSimulatedOutage } from '../../store/release/drills.ts'
import { findKillSwitch } from '../../store/serving/kill-switches.ts'
import { laggingReplicas, listReplicaProgress, renewExposure } from '../../store/serving/routing.ts'
import { judge, recordDecision, withReplicaCheck, withKillSwitch, withDrillBudget } from './decide.ts'
import type { Deps } from '../deps.ts'
import { auditStaleWrite } from './audit-fenced-write.ts'
import { findAlarm, withMonitorAlarm } from './monitor-alarm.ts'
import { withHeartbeat, type Beat } from '../runtime/heartbeat.ts'
import { createTemporalReachability } from './temporal-reachable.ts'
import { createObserver } from './observe.ts'

export interface WatchRequest {
  state: ReleaseState
  /** Whether a person has stopped the clock: then only a verdict against the candidate ends the watch. */
  hold: boolean
  deadlineMs: number
}

export type WatchReport =
  { kind: 'judged'; verdict: VerdictKind; reason: string; due: boolean } | { kind: 'stale'; reason: string }

export const watch =
  (deps: Deps) =>
  async ({ state, hold, deadlineMs }: WatchRequest): Promise<WatchReport> =>
    withHeartbeat(async (beat) => {
      const { everyMs } = state.policy.watch
      const stage = state.stage === 'awaiting_decision' ? (state.undecidedStage ?? state.stage) : state.stage
      const observe = createObserver(deps, state)
      const lifeline = createTemporalReachability()
      let written = ''
      for (;;) {
        beat.check()
        if (state.drill === 'dead-worker' && (await readSimulatedOutage(deps.store, state.id)))
          await playDead(beat)
        const flag = await findKillSwitch(deps.store, state.model)
        const pinned = pinReason(flag)
        const { watchedMs, observedMs: lookedMs } = await recordObservation(deps.store, {
          releaseId: state.id,
          stage,
          stageIndex: state.stageIndex,
          // Nothing can be learnt while nobody meets the candidate, so the clock of the stage stands too.
          paused: hold || pinned !== undefined,
          maxGapMs: 2 * everyMs,
        })
        const observation = { ...(await observe()), watchedMs }
        const seen = withKillSwitch(withDrillBudget(state, judge(state, observation)), pinned)
        const alarmed = withMonitorAlarm(seen, await findAlarm(deps, state))
        const behind = isDoubtful(alarmed.verdict, observation.staleMs, state)
          ? await findBehind(deps, state)
          : []
        const judgement = withReplicaCheck(alarmed, behind)
        const { verdict, reason } = judgement
        const due = !hold && (flag && pinned ? isOver(flag, lookedMs, state) : watchedMs >= deadlineMs)
        const final = verdict.kind === 'fail' || (!hold && (verdict.kind === 'pass' || due))
        const counted = JSON.stringify([
          verdict.kind,
          judgement.inputs['canary'],
          judgement.inputs['control'],
          behind,
        ])
        // A look that saw nothing new is no further decision.
        if (final || counted !== written) await recordDecision(deps, state, judgement)
        written = counted
        if (final) return { kind: 'judged', verdict: verdict.kind, reason, due }
        const exposed = mayBeExposed(verdict, observation.staleMs, state) && (await lifeline.check())
        if (exposed && !(await expose(deps, state, lookedMs))) {
          const reason = 'another writer has moved the routing'
          await auditStaleWrite(deps, state, 'exposure', reason)
          return { kind: 'stale', reason }
        }
        await beat.sleep(everyMs)
      }
    })

/** Longer than any heartbeat is waited for: another watcher is there by then, and this one is told that it is not wanted. */
const deadMs = 60_000

async function playDead(beat: Beat): Promise<never> {
  beat.fallSilent()
  await beat.sleep(deadMs)
  throw new Error('this watch was told to fall silent, for a drill')
}

/** A switch that is forgotten ends the release as a forgotten pause does. */
const isOver = (flag: Flag, nowMs: number, { policy }: ReleaseState): boolean =>
  nowMs - Date.parse(flag.at) >= policy.watch.decisionMs

/**
 * Whether a verdict lets the candidate stay exposed. Silence does not: without counters nobody sees what the candidate
 * does. Idleness, told by fresh counters of nothing, does: otherwise a quiet hour would end every release.
 */
export function mayBeExposed(verdict: Verdict, staleMs: number | null, state: ReleaseState): boolean {
  if (verdict.kind === 'fail' || verdict.kind === 'error') return false
  return staleMs !== null && staleMs <= state.policy.limits.maxStaleMs
}

/** Whether it matters now who follows: what would be passed is passed by all, and silence has somebody who is silent. */
function isDoubtful({ kind }: Verdict, staleMs: number | null, { policy }: ReleaseState): boolean {
  return kind === 'pass' || staleMs === null || staleMs > policy.limits.maxStaleMs
}

const findBehind = async ({ store }: Deps, state: ReleaseState): Promise<string[]> =>
  laggingReplicas(await listReplicaProgress(store, state.model), state)

async function expose({ store }: Deps, state: ReleaseState, lookedMs: number): Promise<boolean> {
  // On probation the candidate is champion; it is taken back by order and not by silence.
  if (state.promoted) return true
  return renewExposure(store, {
    model: state.model,
    release: state.id,
    epoch: state.epoch,
    generation: state.generation,
    observedMs: lookedMs,
    exposureMs: state.policy.watch.exposureMs,
  })
}
