/**
 * Finds every state that a release can reach by applying every event to every state until no new state appears. Comparison ignores times
 * and names, and caps unbounded counters at two.
 */
import { advance, type ReleaseEvent } from '../../../domain/release/reducer.ts'
import { isError } from '../../../domain/errors.ts'
import {
  commandNames,
  openingState,
  type ReleaseFacts,
  type ReleaseState,
} from '../../../domain/release/state.ts'
import type { Strategy } from '../../../domain/release/policy.ts'
import {
  releaseFacts,
  firstFacts,
  judgedEvent,
  releasePolicy,
  targetedPolicy,
  stepEvents,
  rolledBackEvent,
  commandEvent,
} from '../release/releases.ts'

export interface Tried {
  state: ReleaseState
  /** The name of the event on the documentation page. */
  event: string
  /** Absent when this state cannot produce the event. */
  after?: ReleaseState
  applied: boolean
}

export const events: Readonly<Record<string, readonly ReleaseEvent[]>> = {
  ...Object.fromEntries(
    commandNames.map((name) => [
      name,
      [
        commandEvent(name, 'anna'),
        commandEvent(name, 'ben'),
        commandEvent(name, 'olga'),
        commandEvent(name, 'vera', { role: 'viewer' }),
      ],
    ]),
  ),
  ...Object.fromEntries(Object.entries(stepEvents).map(([kind, event]) => [kind, [event]])),
  unacknowledged: [stepEvents.unacknowledged, { ...stepEvents.unacknowledged, atMs: 100_000 }],
  superseded: [stepEvents.superseded, { ...stepEvents.superseded, over: 'unexposed' } as ReleaseEvent],
  judged: (['pass', 'fail', 'inconclusive', 'no_data', 'error'] as const).flatMap((kind) => [
    judgedEvent(kind, false),
    judgedEvent(kind, true),
  ]),
  rolled_back: [
    rolledBackEvent(false),
    rolledBackEvent(true),
    rolledBackEvent(true, 'm_v1.1.0'),
    rolledBackEvent(false, undefined, ['r1 is deaf']),
  ],
}

const strategies: readonly Strategy[] = ['canary', 'blue_green', 'shadow', 'ab', 'rolling', 'direct']

const { probation: _probation, ...withoutProbation } = releasePolicy

/** The initial states of a release: each strategy, one without approvals, one without probation, one with targeted callers, and the first release of a model. */
export const openings: readonly ReleaseState[] = [
  ...strategies.map((strategy): ReleaseFacts => ({
    ...releaseFacts,
    policy: { ...releasePolicy, strategy },
  })),
  { ...releaseFacts, policy: { ...releasePolicy, approval: { approvers: 0, withinMs: 5_000 } } },
  { ...releaseFacts, policy: withoutProbation },
  { ...releaseFacts, policy: targetedPolicy },
  firstFacts,
].map((each) => openingState(each, 0))

/** Returns the fields that distinguish two states for all later events. */
function keyOf(state: ReleaseState): string {
  return JSON.stringify([
    state.strategy,
    state.baseline !== undefined,
    state.policy.approval.approvers,
    state.policy.probation !== undefined,
    state.policy.targeted !== undefined,
    state.stage,
    state.stageIndex,
    state.routed,
    state.paused,
    Math.min(state.attempts, state.stage === 'rolling_back' ? 6 : 1),
    Math.min(state.extensions, 1),
    // Before the decision, the names of approvers matter; afterwards only whether there are approvals.
    state.stage === 'awaiting_approval'
      ? state.approvals.map(({ by }) => by).sort()
      : state.approvals.length > 0,
    state.breakGlass !== undefined,
    state.lastVerdict?.kind === 'fail',
    state.undecidedStage,
    state.promoted,
    state.rollbackOrder?.outcome,
    state.outcome,
    state.closed,
    state.shareBp,
  ])
}

/** Returns all pairs of a reachable state and an event with the resulting state. Visits at most `most` states. */
export function explore(most = 50_000): { states: ReleaseState[]; tried: Tried[] } {
  const states = [...openings]
  const known = new Set(states.map(keyOf))
  const tried: Tried[] = []
  for (let at = 0; at < states.length; at++) {
    if (at > most) throw new Error(`more than ${most} states are reachable`)
    const state = states[at]!
    for (const [name, variants] of Object.entries(events))
      for (const event of variants) {
        try {
          const { state: after, applied } = advance(state, event)
          tried.push({ state, event: name, after, applied })
          const key = keyOf(after)
          if (known.has(key)) continue
          known.add(key)
          states.push(after)
        } catch (error) {
          if (!isError(error, 'invalid_transition') || event.kind === 'command') throw error
          tried.push({ state, event: name, applied: false })
        }
      }
  }
  return { states, tried }
}
