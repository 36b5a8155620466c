/** Defines test data for the release reducer: a policy in milliseconds, states, reports and commands. */
import {
  advance,
  type CommandEvent,
  type ReleaseEvent,
  type StepEvent,
} from '../../../domain/release/reducer.ts'
import { defaultCanaryPolicy } from '../../../domain/canary/policy.ts'
import { defaultWatch, type ReleasePolicy } from '../../../domain/release/policy.ts'
import {
  openingState,
  releaseStages,
  type CommandName,
  type ReleaseFacts,
  type ReleaseStage,
  type ReleaseState,
} from '../../../domain/release/state.ts'

const stage = { minMs: 100, minRequests: 10, deadlineMs: 1_000 }
export const releasePolicy: ReleasePolicy = {
  strategy: 'canary',
  approval: { approvers: 2, withinMs: 5_000 },
  shadow: { ...stage, shareBp: 10_000 },
  stages: [
    { ...stage, shareBp: 100 },
    { ...stage, shareBp: 2_500 },
  ],
  probation: { ...stage, holdbackBp: 500 },
  watch: defaultWatch,
  limits: defaultCanaryPolicy,
}
export const releaseFacts: ReleaseFacts = {
  id: 'rel_1',
  model: 'm',
  version: 'm_v1.1.0',
  baseline: 'm_v1.0.0',
  requestedBy: 'olga',
  policy: releasePolicy,
  digests: { artifact: 'a', evaluation: 'e', policy: 'p' },
  epoch: 1,
  generation: 3,
}
const { baseline: _baseline, ...without } = releaseFacts
export const firstFacts: ReleaseFacts = without

export const commandEvent = (
  command: CommandName,
  by = 'anna',
  more: Partial<CommandEvent> = {},
): CommandEvent => ({
  kind: 'command',
  atMs: 10,
  command,
  by,
  role: 'admin',
  inScope: true,
  reason: 'because',
  ...more,
})
export const stepEvents: Record<StepEvent['kind'], StepEvent> = {
  qualified: { kind: 'qualified', atMs: 10 },
  disqualified: { kind: 'disqualified', atMs: 10, reason: 'its weights are not finite' },
  routed: { kind: 'routed', atMs: 10, epoch: 1, generation: 4, startedMs: 9 },
  unacknowledged: { kind: 'unacknowledged', atMs: 10, epoch: 1, generation: 4, problems: ['r1 is deaf'] },
  stale: { kind: 'stale', atMs: 10, reason: 'the champion has changed' },
  judged: { kind: 'judged', atMs: 10, verdict: 'pass', reason: 'all well', due: false },
  promoted: { kind: 'promoted', atMs: 10, epoch: 1, generation: 5 },
  refused: { kind: 'refused', atMs: 10, reason: 'the last verdict is fail' },
  rolled_back: {
    kind: 'rolled_back',
    atMs: 10,
    problems: [],
    rollbackResult: { champion: 'm_v1.0.0', wasChampion: false, orderedMs: 7, acknowledgedMs: 9 },
  },
  closed: { kind: 'closed', atMs: 10 },
  restored: { kind: 'restored', atMs: 10 },
  timed_out: { kind: 'timed_out', atMs: 10 },
  step_failed: { kind: 'step_failed', atMs: 10, step: 'route', message: 'no such table' },
  superseded: {
    kind: 'superseded',
    atMs: 10,
    by: 'olga',
    version: 'm_v1.2.0',
    over: 'exposed',
    hotfix: true,
    reason: 'it is urgent',
  },
  cancelled: { kind: 'cancelled', atMs: 10 },
}
/** Builds the event of a completed rollback, before or after promotion. */
export const rolledBackEvent = (
  wasChampion: boolean,
  champion = 'm_v1.0.0',
  problems: string[] = [],
  incompatibilities?: string[],
): StepEvent => ({
  kind: 'rolled_back',
  atMs: 10,
  problems,
  rollbackResult: {
    champion,
    wasChampion,
    orderedMs: 7,
    acknowledgedMs: 9,
    ...(problems.length > 0 && { unacknowledged: problems }),
    ...(incompatibilities && { incompatibilities }),
  },
})
export const judgedEvent = (
  verdict: 'pass' | 'fail' | 'inconclusive' | 'no_data' | 'error',
  due = true,
): StepEvent => ({
  kind: 'judged',
  atMs: 10,
  verdict,
  reason: `it is ${verdict}`,
  due,
})
export const advanceAll = (state: ReleaseState, ...events: ReleaseEvent[]): ReleaseState =>
  events.reduce((now, event) => advance(now, event).state, state)

export const opened = openingState(releaseFacts, 0)
export const waiting = advanceAll(opened, stepEvents.qualified)
export const enteredShadow = advanceAll(waiting, commandEvent('approve'), commandEvent('approve', 'ben'))
export const routedShadow = advanceAll(enteredShadow, stepEvents.routed)
export const enteredCanary = advanceAll(routedShadow, judgedEvent('pass'))
export const routedCanary = advanceAll(enteredCanary, stepEvents.routed)
export const targetedPolicy: ReleasePolicy = {
  ...releasePolicy,
  targeted: { ...stage, target: { header: { name: 'x-preview', value: 'on' } } },
}
export const enteredTargeted = advanceAll({ ...routedShadow, policy: targetedPolicy }, judgedEvent('pass'))
export const routedTargeted = advanceAll(enteredTargeted, stepEvents.routed)
export const second = advanceAll(routedCanary, judgedEvent('pass'), stepEvents.routed)
export const undecided = advanceAll(routedCanary, judgedEvent('inconclusive'))
export const promoting = advanceAll(second, judgedEvent('pass'))
export const probation = advanceAll(promoting, stepEvents.promoted)
export const probated = advanceAll(probation, stepEvents.routed)
export const rollingBackState = advanceAll(routedCanary, judgedEvent('fail'))
export const ended = advanceAll(probated, judgedEvent('pass'))
export const stateAt: Record<ReleaseStage, ReleaseState> = {
  qualifying: opened,
  awaiting_approval: waiting,
  shadow: routedShadow,
  targeted: routedTargeted,
  canary: routedCanary,
  awaiting_decision: undecided,
  promoting,
  probation: probated,
  rolling_back: rollingBackState,
  ended,
}
export const stages = Object.keys(releaseStages) as ReleaseStage[]
