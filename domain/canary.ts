/**
 * The canary judge: looks at everything since the release's canary began and says whether it may go on. Without
 * it a release would be decided by thresholds on one minute's noise, which roll back most good releases in a day
 * and let a doubled error rate through. Every evidence here may be looked at after each tick; the probability of
 * taking back a release that is no worse than its champion is Σα over all metrics, stages and looks together.
 */

import type { CanaryPolicy } from './canary-policy.ts'
import { canaryWatch } from './canary-watch.ts'
import type { Verdict } from './verdict.ts'

/** Counts of one arm in one tick, at completion, each routing key counted bad at most once per metric and release. */
export interface ArmCounts {
  requests: number
  /** Failures the model caused: 5xx and timeouts, never a client's 4xx. */
  errors: number
  /** Answers that were not finite or outside the output schema. */
  invalid: number
  /** Answers slower than the champion's 95th percentile, as fixed before the release. */
  slow95: number
  /** Answers slower than the champion's 99th percentile, as fixed before the release. */
  slow99: number
  /** Wanted outcomes seen in this tick, where the model has such a metric; fewer is worse. */
  conversions?: number
}

export interface CanaryTick {
  startMs: number
  /** The configured canary share in force during the whole tick; null when it changed within it. */
  shareBp: number | null
  canary: ArmCounts
  /** The concurrent cohort of the champion. */
  control: ArmCounts
}

export interface CanaryStage {
  index: number
  shareBp: number
  /** On the clock of the ticks. */
  startedMs: number
  elapsedMs: number
  minMs: number
  /** Requests the canary must have answered in this stage. */
  minRequests: number
  /** Whether the release reaches 100 % after this stage. */
  last: boolean
}

export interface CanaryEvidence {
  /** All ticks since the canary began, over all stages, in order. Nothing is reset between stages. */
  ticks: CanaryTick[]
  /** Requests both models answered and whose label came: b = champion right, challenger wrong; c = the reverse. */
  paired?: { b: number; c: number }
  stage: CanaryStage
  /** How old the newest counters are; null when there are none. */
  staleMs: number | null
}

export function judgeCanary(evidence: CanaryEvidence, policy: CanaryPolicy): Verdict {
  const watch = canaryWatch(policy)
  for (const tick of evidence.ticks) watch.add(tick)
  return watch.judge(evidence)
}
