/**
 * Simulates one release from its approval to its end with the reducer, judge and circuit breaker of real releases, so that the result
 * holds for the policy that runs.
 */
import { advance, type StepEvent } from '../release/reducer.ts'
import { breakerAlpha } from '../canary/alpha-split.ts'
import { breaker } from '../serving/circuit-breaker.ts'
import { incrementalJudge } from '../canary/incremental-judge.ts'
import type { CanaryStage, CanaryTick } from '../canary/evidence.ts'
import type { ReleasePolicy, StagePolicy } from '../release/policy.ts'
import { isLastStage } from '../release/evidence-builder.ts'
import { openingState, watchedPolicy, type ReleaseState } from '../release/state.ts'
import { judgeAbLosses, withAb, type AbFinding } from '../canary/ab-test.ts'
import { blocksOf, judgeHoldback, lossesOfDecisions } from '../canary/holdback.ts'
import type { Reason } from '../verdict.ts'
import { baselineRule, type BaselineRuleName } from './baseline-rules.ts'
import { drawsOf, type Uniform } from '@tenure/sequential'
import {
  armOutcomes,
  businessTraffic,
  externalTraffic,
  predictionOf,
  shadowPairs,
  trafficOf,
  type ArmOutcomes,
} from './traffic.ts'
import { labelTimeOf, recordedNumbers } from './recorded-answers.ts'
import { harmedShare, worldAt, type TrafficScenario, type SimulatedWorld } from './scenario.ts'
import { needsApprover, type VerdictKind } from '../verdict.ts'

export interface SimulatedRelease {
  /** `held`: the release needs a decision, which a simulation cannot make. */
  outcome: 'promoted' | 'rolled_back' | 'held' | 'expired'
  reason: string
  /** The code of the test that rolled it back or asked; absent where none did. */
  stoppedBy?: string
  /** Whether a failing verdict ended it, not a deadline. */
  byVerdict: boolean
  /** From the first canary request to the end. */
  minutes: number
  /** The number of responses of the candidate to callers by then. */
  canaryRequests: number
  /** Canary requests and minutes from the fault to the rollback by a verdict. */
  canaryRequestsToDetect?: number
  minutesToDetect?: number
  /**
   * The harm: Σ (failures − requests·champion's rate), at least 0, and the answers that the champion would have had right, each at its cost
   * in failed requests.
   */
  excessBad: number
}

export interface Simulated {
  policy: ReleasePolicy
  scenario: TrafficScenario
  world: SimulatedWorld
  uniform: Uniform
}

/** Simulates a release under our judge, or under the rule of another controller with the same stages and deadlines. */
export function simulateRelease(plan: Simulated, rule?: BaselineRuleName): SimulatedRelease {
  const { policy, world, uniform, scenario } = plan
  const traffic = trafficOf(scenario, world, uniform)
  const predicted = predictionOf(scenario, world, uniform)
  const judge = incrementalJudge(policy.limits, recordedNumbers(world.answers), predicted)
  const other = rule === undefined ? undefined : baselineRule(rule)
  const guard = breaker(policy.limits.guardRate, breakerAlpha(policy.limits.alpha))
  const harm = harmCounts(scenario, world)
  const beside = evidenceBeside(plan)
  let state = opened(policy, world)
  let atMs = 0
  let lastTickMs: number | null = null
  let stoppedBy: string | undefined

  const dispatch = (event: StepEvent) => {
    state = advance(state, event).state
  }
  const finish = (byVerdict: boolean, reason = state.reason ?? ''): SimulatedRelease => ({
    outcome: outcomeOf(state),
    reason,
    ...(stoppedBy !== undefined && outcomeOf(state) !== 'promoted' && { stoppedBy }),
    byVerdict,
    minutes: atMs / 60_000,
    canaryRequests: harm.requests(),
    ...(byVerdict && harm.detection(atMs)),
    excessBad: harm.excessBad(),
  })

  for (;;) {
    switch (state.stage) {
      case 'promoting':
        dispatch({ kind: 'promoted', atMs, epoch: 1, generation: state.generation + 1 })
        continue
      case 'rolling_back':
        dispatch(rolledBack(state, atMs))
        return finish(state.lastVerdict?.kind === 'fail')
      case 'awaiting_decision':
        return finish(false, `needs a decision: ${state.lastVerdict?.reason ?? ''}`)
      case 'shadow':
      case 'canary':
      case 'probation':
        break
      default:
        return finish(false)
    }
    if (!state.routed)
      dispatch({ kind: 'routed', atMs, epoch: 1, generation: state.generation + 1, startedMs: atMs })
    const tick = traffic.tick(atMs, exposedBp(state), world.mirrored ? 1 : pairedShare(state))
    atMs += world.tickMs
    if (tick) {
      const counted = other ? tick : stoppedByBreaker(tick, guard, uniform)
      lastTickMs = atMs
      if (state.stage !== 'shadow') harm.add(counted)
      beside.add(counted, state, atMs)
      if (!other) judge.add(state.stage === 'shadow' ? { ...counted, shadow: true } : counted)
      else if (other.add(counted)) {
        dispatch(judged(atMs, 'fail', `${rule} rolls back`))
        continue
      }
    }
    const limits = watchedPolicy(state)
    if (!limits) return finish(false, 'the stage has no policy')
    const elapsedMs = atMs - state.enteredMs
    const due = elapsedMs >= limits.deadlineMs
    if (other) {
      // Rules of other controllers need no evidence: a stage passes after its minimum time.
      if (elapsedMs >= limits.minMs) dispatch(judged(atMs, 'pass', 'the minimum time has passed'))
      continue
    }
    const whole = judge.judge({
      stage: stageOf(state, limits, elapsedMs),
      staleMs: lastTickMs === null ? null : atMs - lastTickMs,
      pairedLosses: lossesOfDecisions(traffic.paired(atMs)),
      ...beside.evidence(state, atMs),
      predicted,
      // The simulated system has one replica.
      breakers: { open: guard.isOpen() ? 1 : 0, replicas: 1 },
    })
    const compared = beside.ab(state, atMs)
    const verdict = compared === undefined ? whole : withAb(whole, compared)
    const lost = beside.lost(state, atMs)
    stoppedBy = verdict.kind === 'fail' || needsApprover(verdict) ? verdict.reasons[0]?.code : lost?.code
    if (lost !== null && verdict.kind !== 'fail') dispatch(judged(atMs, 'fail', lost.message))
    else if (verdict.kind === 'pass' || verdict.kind === 'fail' || due || needsApprover(verdict))
      dispatch(judged(atMs, verdict.kind, verdict.reasons[0]?.message ?? '', due || needsApprover(verdict)))
  }
}

/** The failures and wrong answers of the candidate, and those that the champion would have had. */
function harmCounts(scenario: TrafficScenario, world: SimulatedWorld) {
  const { wrongCost = 1 } = world
  const faultMs = faultStart(scenario) ?? Infinity
  let [bad, expectedBad, wrong, requests, requestsSinceFault] = [0, 0, 0, 0, 0]
  return {
    add({ startMs, canary }: CanaryTick) {
      const { errorRate, invalidRate } = worldAt(world, startMs)
      expectedBad += canary.requests * (errorRate + invalidRate)
      const failed = canary.errors + canary.invalid
      bad += failed
      wrong += (canary.requests - failed) * harmedShare(scenario, startMs, world)
      requests += canary.requests
      if (startMs >= faultMs) requestsSinceFault += canary.requests
    },
    excessBad: () => Math.max(0, bad - expectedBad) + wrong * wrongCost,
    requests: () => requests,
    /** Canary requests and minutes from the fault to a rollback at `atMs`; undefined before the fault. */
    detection: (atMs: number) =>
      atMs < faultMs
        ? undefined
        : { canaryRequestsToDetect: requestsSinceFault, minutesToDetect: (atMs - faultMs) / 60_000 },
  }
}

/** Outcomes are judged again when this many times as many are known. */
const growth = 1.02

/**
 * What the judge reads beside the ticks: pairs of the shadow, the outcomes of a probation, and what users and other systems tell of the
 * arms.
 */
function evidenceBeside({
  policy: { limits, probation, strategy, ab },
  scenario,
  world,
  uniform,
}: Simulated) {
  const business = limits.business && businessTraffic(limits.business, scenario, uniform)
  const external = limits.external && externalTraffic(limits, scenario, uniform)
  const pairs = shadowPairs(scenario, world, uniform)
  const holdback = probation && armOutcomes(scenario, world, blocksOf(10_000 - probation.holdbackBp), uniform)
  let dueBlocks = 1
  const isOfOutcomes = strategy === 'ab' && (ab?.metric === 'accuracy' || ab?.metric === 'loss')
  /** The arms of the A/B stage that runs, and their comparison with the newest outcomes. */
  let arms: { stage: number; outcomes: ArmOutcomes; dueBlocks: number; found: AbFinding } | undefined
  const armsOf = (state: ReleaseState) =>
    !isOfOutcomes || state.stage !== 'canary'
      ? undefined
      : arms?.stage === state.stageIndex
        ? arms
        : (arms = {
            stage: state.stageIndex,
            outcomes: armOutcomes(scenario, world, blocksOf(state.shareBp), uniform),
            dueBlocks: 1,
            found: judgeAbLosses(undefined, ab!, limits.alpha.quality / 2),
          })
  return {
    add(tick: CanaryTick, state: ReleaseState, atMs: number): void {
      if (state.stage === 'shadow') return pairs?.add(tick.canary.requests, atMs)
      armsOf(state)?.outcomes.add(tick, atMs)
      if (state.stage === 'probation') holdback?.add(tick, atMs)
      business?.add(tick, { index: state.routings.length, shareBp: exposedBp(state) }, atMs)
      external?.add(tick, atMs)
    },
    evidence: ({ stage }: ReleaseState, atMs: number) => ({
      disagreement: pairs?.evidence(),
      business: business?.evidence(atMs),
      external: stage === 'shadow' ? undefined : external?.evidence(),
    }),
    /** How the arms of an A/B release compare by their outcomes; undefined where its policy asks for none. */
    ab(state: ReleaseState, atMs: number): AbFinding | undefined {
      const compared = armsOf(state)
      const losses = compared?.outcomes.losses(atMs, compared.dueBlocks)
      if (compared !== undefined && losses !== undefined) {
        compared.dueBlocks = growth * drawsOf(losses.differences)
        compared.found = judgeAbLosses(losses, ab!, limits.alpha.quality / 2)
      }
      return compared?.found
    },
    /** Why the new champion is worse than the holdback; null where it is not, or where few outcomes are new. */
    lost({ stage }: ReleaseState, atMs: number): Reason | null {
      const losses = stage === 'probation' ? holdback?.losses(atMs, dueBlocks) : undefined
      if (losses === undefined) return null
      dueBlocks = growth * drawsOf(losses.differences)
      const alpha = strategy === 'ab' ? limits.alpha.quality / 2 : limits.alpha.quality
      return judgeHoldback(losses, alpha, limits.minDelta).reason
    },
  }
}

function stageOf(
  state: ReleaseState,
  { minMs, minRequests }: Pick<StagePolicy, 'minMs' | 'minRequests'>,
  elapsedMs: number,
): CanaryStage {
  const { stages } = state.policy
  const inCanary = state.stage === 'canary'
  return {
    index: state.stageIndex,
    shareBp: exposedBp(state),
    nextShareBp: inCanary ? stages[state.stageIndex + 1]?.shareBp : undefined,
    startedMs: state.routings.at(-1)?.startedMs ?? 0,
    elapsedMs,
    minMs,
    minRequests,
    last: isLastStage(state),
    promoted: state.promoted,
  }
}

function rolledBack({ promoted: wasChampion }: ReleaseState, atMs: number): StepEvent {
  const rollbackResult = { champion: 'champion', wasChampion, orderedMs: atMs, acknowledgedMs: atMs }
  return { kind: 'rolled_back', atMs, problems: [], rollbackResult }
}

/** Drops the stage of targeted callers: the traffic does not tell which callers are targeted. */
function opened({ targeted: _targeted, ...policy }: ReleasePolicy, { labels }: SimulatedWorld): ReleaseState {
  let state = openingState(
    {
      id: 'rel_simulated',
      model: 'simulated',
      version: 'candidate',
      baseline: 'champion',
      requestedBy: 'requester',
      policy,
      digests: { artifact: 'artifact', evaluation: 'evaluation', policy: 'policy' },
      epoch: 1,
      generation: 1,
      labelsMs: policy.probation?.coverLabels === true ? labelTimeOf(labels) : undefined,
    },
    0,
  )
  state = advance(state, { kind: 'qualified', atMs: 0 }).state
  for (let n = 1; state.stage === 'awaiting_approval'; n++) {
    const given = { by: `approver-${n}`, role: 'approver', inScope: true, atMs: 0 } as const
    state = advance(state, { kind: 'command', command: 'approve', ...given }).state
  }
  return state
}

function judged(atMs: number, verdict: VerdictKind, reason: string, due = false): StepEvent {
  return { kind: 'judged', atMs, verdict, reason, due }
}

/** The candidate's share of the compared requests; in a shadow, half of each pair. */
const exposedBp = (state: ReleaseState): number => (state.stage === 'shadow' ? 5_000 : state.shareBp)

/** Of the candidate's requests, those that both versions answer: all of a shadow, and what a probation copies to the former champion. */
const pairedShare = ({ stage, policy: { probation } }: ReleaseState): number =>
  stage === 'shadow' ? 1 : stage === 'probation' ? (probation?.shadowBp ?? 0) / 10_000 : 0

/** When the candidate becomes worse than the champion; undefined when it never does. */
export function faultStart(scenario: TrafficScenario): number | undefined {
  switch (scenario.kind) {
    case 'error':
      return scenario.fromMs
    case 'earns':
      return scenario.by < 0 ? 0 : undefined
    case 'measured':
      return scenario.by > 0 ? 0 : undefined
    case 'worse':
      return scenario.by > 0 ? 0 : undefined
    case 'stale-feature':
    case 'slice':
    case 'latency':
    case 'shift':
    case 'scale':
      return 0
    case 'storm':
      return 600_000
    default:
      return undefined
  }
}

function outcomeOf(state: ReleaseState): SimulatedRelease['outcome'] {
  if (state.stage === 'awaiting_decision') return 'held'
  return state.outcome === 'promoted' || state.outcome === 'expired' ? state.outcome : 'rolled_back'
}

/** The tick of a replica whose breaker may open within it. The remaining requests then go to the champion. */
function stoppedByBreaker(tick: CanaryTick, guard: ReturnType<typeof breaker>, uniform: Uniform): CanaryTick {
  const { canary } = tick
  const bad = Math.min(canary.requests, canary.errors + canary.invalid)
  let left = canary.requests
  let badLeft = bad
  // The failures have uniformly random positions among the requests of the tick.
  while (badLeft > 0) {
    let run = 0
    while (uniform() * left >= badLeft) {
      run++
      left--
    }
    left--
    badLeft--
    guard.good(run)
    if (guard.bad()) break
  }
  if (!guard.isOpen()) {
    guard.good(left)
    guard.restart()
    return tick
  }
  const answered = canary.requests - left
  const failed = bad - badLeft
  const invalid = Math.min(canary.invalid, failed)
  return {
    ...tick,
    shareBp: null,
    canary: {
      requests: answered,
      errors: failed - invalid,
      invalid,
      slow95: Math.min(answered, canary.slow95),
      slow99: Math.min(answered, canary.slow99),
    },
  }
}
