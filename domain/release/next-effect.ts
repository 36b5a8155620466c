/**
 * Derives the next effect of a release from its state alone, so that a worker that takes over continues where the previous one
 * stopped.
 */
import { isBreakGlass, isWarming, observedStage, watchedPolicy, type ReleaseState } from './state.ts'
import { totalBp, type Route, type RouteArm } from '../serving/route.ts'

/** While `key` stays the same, the running step is still the right one. */
export type ReleaseEffect =
  /** Load the candidate in a separate process and check it. */
  | { kind: 'qualify'; key: string }
  /** Wait for approvals, at most until `untilMs`. */
  | { kind: 'wait'; key: string; untilMs: number }
  /** Write the routing of the stage and wait for every live replica. */
  | { kind: 'route'; key: string }
  /** Observe, judge and keep the candidate exposed, at most until `untilMs`. During `hold`, only a failing verdict counts. */
  | { kind: 'watch'; key: string; hold: boolean; deadlineMs: number; untilMs?: number }
  /** Move the champion. */
  | { kind: 'promote'; key: string }
  /** Return to the baseline. */
  | { kind: 'roll_back'; key: string; attempts: number }
  /** Record the end. */
  | { kind: 'close'; key: string; attempts: number }
  /** Do nothing: the end is recorded. */
  | { kind: 'none'; key: string }

export function nextEffect(state: ReleaseState): ReleaseEffect {
  const key = [state.stage, state.stageIndex, state.extensions, state.attempts].join('/')
  switch (state.stage) {
    case 'qualifying':
      return { kind: 'qualify', key }
    case 'awaiting_approval':
      return { kind: 'wait', key, untilMs: state.enteredMs + state.policy.approval.withinMs }
    case 'shadow':
    case 'targeted':
    case 'canary':
    case 'probation':
    case 'awaiting_decision':
      return state.routed ? watch(state, key) : { kind: 'route', key: `${key}/route` }
    case 'promoting':
      return isWarming(state) ? { kind: 'route', key: `${key}/warm` } : { kind: 'promote', key }
    case 'rolling_back':
      return { kind: 'roll_back', key, attempts: state.attempts }
    case 'ended':
      return state.closed ? { kind: 'none', key: 'none' } : { kind: 'close', key, attempts: state.attempts }
    default:
      return state.stage satisfies never
  }
}

function watch(state: ReleaseState, key: string): ReleaseEffect {
  const asked = state.stage === 'awaiting_decision'
  const hold = asked || state.paused
  const since = asked ? state.enteredMs : state.pause?.atMs
  // An extension adds the deadline again. The time observed so far still counts.
  const deadlineMs = (watchedPolicy(state)?.deadlineMs ?? 0) * (1 + state.extensions)
  const heldMs = hold && since !== undefined ? since + state.policy.watch.decisionMs : Infinity
  const untilMs = Math.min(heldMs, (isBreakGlass(state) ? state.breakGlass?.untilMs : undefined) ?? Infinity)
  if (untilMs === Infinity) return { kind: 'watch', key: `${key}/watch`, hold, deadlineMs }
  return { kind: 'watch', key: `${key}/${hold ? 'hold' : 'glass'}/${untilMs}`, hold, deadlineMs, untilMs }
}

/** The routing of a stage. */
export interface RoutePlan {
  arms: RouteArm[]
  shadow?: { version: string; shareBp: number }
  /** Absent without targeted callers. */
  targeted?: Route['targeted']
  proven: string
  /** The version that a rollback returns to; it stays loaded without a share. */
  standby?: string
  /** Whether the shares are shares of the replicas, which the writer of the route selects. */
  byReplica?: true
}

/** The routing for a state; undefined before the first one. */
export function routePlan(state: ReleaseState): RoutePlan | undefined {
  const { version, baseline, shareBp } = state
  const championOnly = (champion: string): RoutePlan => ({
    arms: [{ arm: 'champion', version: champion, shareBp: totalBp }],
    proven: champion,
  })
  const stage = observedStage(state)
  const { targeted: chosen } = state.policy
  // Targeted callers keep the candidate until the release ends: no stage moves a caller back.
  const targeted = state.strategy === 'canary' && chosen ? { version, target: chosen.target } : undefined
  // Every replica loads the candidate with a share of 0, so that the promotion delays no request.
  if (isWarming(state) && baseline !== undefined) return beside(baseline, version, 0)
  if (stage === 'probation' || (stage === 'promoting' && state.policy.probation && baseline !== undefined)) {
    const { holdbackBp = 0, shadowBp } = state.policy.probation ?? {}
    if (baseline === undefined) return championOnly(version)
    const arms: RouteArm[] = [{ arm: 'champion', version, shareBp: totalBp - holdbackBp }]
    if (holdbackBp > 0) arms.push({ arm: 'control', version: baseline, shareBp: holdbackBp })
    const shadow = shadowBp === undefined ? undefined : { version: baseline, shareBp: shadowBp }
    return { arms, shadow, targeted, proven: baseline }
  }
  // Until the release has ended as promoted, a replica without a lease returns to the baseline.
  if (stage === 'promoting')
    return { ...championOnly(version), proven: baseline ?? version, standby: baseline }
  if (stage === 'ended' && state.outcome === 'promoted')
    return { ...championOnly(version), standby: baseline }
  if (baseline === undefined) return undefined
  if (stage === 'shadow') return { ...championOnly(baseline), shadow: { version, shareBp } }
  if (stage === 'targeted') return { ...championOnly(baseline), targeted }
  if (stage === 'canary') {
    const plan = { ...beside(baseline, version, shareBp), targeted }
    return state.strategy === 'rolling' ? { ...plan, byReplica: true } : plan
  }
  return championOnly(baseline)
}

function beside(champion: string, canary: string, shareBp: number): RoutePlan {
  return {
    // The canary gets the lowest keys, so that a rising share never moves a key back to the champion.
    arms: [
      { arm: 'canary', version: canary, shareBp },
      { arm: 'champion', version: champion, shareBp: totalBp - shareBp },
    ],
    proven: champion,
  }
}
