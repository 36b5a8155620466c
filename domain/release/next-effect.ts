/**
 * What a release asks to be done next, read from its state alone. Nothing about a step in progress is kept anywhere
 * else: a worker that takes over asks the state and goes on where the one before it stood.
 */
import { isBreakGlass, isWarming, watchedPolicy, type ReleaseState } from './state.ts'
import { totalBp, type RouteArm } from '../serving/route.ts'

/** `key` tells two effects apart: while it stays the same, the step under way is still the one wanted. */
export type ReleaseEffect =
  /** Load the candidate in a process of its own and check it. */
  | { kind: 'qualify'; key: string }
  /** Wait for people until then. */
  | { kind: 'wait'; key: string; untilMs: number }
  /** Write the routing of the stage and wait for every live replica. */
  | { kind: 'route'; key: string }
  /** Observe, judge and keep the candidate exposed, until then at most. While `hold`, only a verdict against it counts. */
  | { kind: 'watch'; key: string; hold: boolean; deadlineMs: number; untilMs?: number }
  /** Move the champion. */
  | { kind: 'promote'; key: string }
  /** Return to the baseline. */
  | { kind: 'roll_back'; key: string }
  /** Write the end down. */
  | { kind: 'close'; key: string }
  /** Nothing is left to do. */
  | { kind: 'none'; key: string }

export function nextEffect(state: ReleaseState): ReleaseEffect {
  const key = [state.stage, state.stageIndex, state.extensions, state.attempts].join('/')
  switch (state.stage) {
    case 'qualifying':
      return { kind: 'qualify', key }
    case 'awaiting_approval':
      return { kind: 'wait', key, untilMs: state.enteredMs + state.policy.approval.withinMs }
    case 'shadow':
    case 'canary':
    case 'probation':
    case 'awaiting_decision':
      return state.routed ? watch(state, key) : { kind: 'route', key: `${key}/route` }
    case 'promoting':
      return isWarming(state) ? { kind: 'route', key: `${key}/warm` } : { kind: 'promote', key }
    case 'rolling_back':
      return { kind: 'roll_back', key }
    case 'ended':
      return state.closed ? { kind: 'none', key: 'none' } : { kind: 'close', key }
    default:
      return state.stage satisfies never
  }
}

function watch(state: ReleaseState, key: string): ReleaseEffect {
  const asked = state.stage === 'awaiting_decision'
  const hold = asked || state.paused
  const since = asked ? state.enteredMs : state.pause?.atMs
  // A person may give a stage its deadline anew; the time it was watched before stays counted.
  const deadlineMs = (watchedPolicy(state)?.deadlineMs ?? 0) * (1 + state.extensions)
  const heldMs = hold && since !== undefined ? since + state.policy.watch.decisionMs : Infinity
  const untilMs = Math.min(heldMs, (isBreakGlass(state) ? state.breakGlass?.untilMs : undefined) ?? Infinity)
  if (untilMs === Infinity) return { kind: 'watch', key: `${key}/watch`, hold, deadlineMs }
  return { kind: 'watch', key: `${key}/${hold ? 'hold' : 'glass'}/${untilMs}`, hold, deadlineMs, untilMs }
}

/** Who gets what at this stage of a release. */
export interface RoutePlan {
  arms: RouteArm[]
  shadow?: { version: string; shareBp: number }
  proven: string
  /** Who answers again when it is taken back, and stays loaded for it without a share. */
  standby?: string
  /** Whether the shares are those of whole replicas, which whoever writes the route names. */
  byReplica?: true
}

/** The routing that the state asks for; absent before anything is routed. */
export function routePlan(state: ReleaseState): RoutePlan | undefined {
  const { version, baseline, shareBp } = state
  const whole = (champion: string): RoutePlan => ({
    arms: [{ arm: 'champion', version: champion, shareBp: totalBp }],
    proven: champion,
  })
  const stage = state.stage === 'awaiting_decision' ? state.undecidedStage : state.stage
  // Loaded by every replica and answering nobody: the flip that follows costs no caller a wait.
  if (isWarming(state) && baseline !== undefined) return beside(baseline, version, 0)
  if (stage === 'probation' || (stage === 'promoting' && state.policy.probation && baseline !== undefined)) {
    const { holdbackBp = 0, shadowBp } = state.policy.probation ?? {}
    const control: RouteArm[] =
      baseline === undefined || holdbackBp === 0
        ? []
        : [{ arm: 'control', version: baseline, shareBp: holdbackBp }]
    return {
      arms: [{ arm: 'champion', version, shareBp: totalBp - (control[0]?.shareBp ?? 0) }, ...control],
      ...(baseline === undefined || shadowBp === undefined
        ? {}
        : { shadow: { version: baseline, shareBp: shadowBp } }),
      proven: baseline ?? version,
    }
  }
  if (stage === 'promoting' || (stage === 'ended' && state.outcome === 'promoted'))
    return { ...whole(version), ...(baseline === undefined ? {} : { standby: baseline }) }
  if (baseline === undefined) return undefined
  if (stage === 'shadow') return { ...whole(baseline), shadow: { version, shareBp } }
  if (stage === 'canary') {
    const plan = beside(baseline, version, shareBp)
    return state.strategy === 'rolling' ? { ...plan, byReplica: true } : plan
  }
  return whole(baseline)
}

function beside(champion: string, canary: string, shareBp: number): RoutePlan {
  return {
    // The lowest keys come first, so that a rising share never moves a caller back.
    arms: [
      { arm: 'canary', version: canary, shareBp },
      { arm: 'champion', version: champion, shareBp: totalBp - shareBp },
    ],
    proven: champion,
  }
}
