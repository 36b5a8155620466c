/**
 * What the canary judge is given: counts per tick and arm, the stage, and how old the counts are. Counters, the
 * simulator and the judge share these shapes, so that none of them can count something else than it is judged by.
 */

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
  /** The share of the canary stage after this one, where there is one. */
  nextShareBp?: number
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
  /**
   * Requests both models answered and whose label came: b = champion right, challenger wrong; c = the reverse;
   * same = both right or both wrong, where it is counted.
   */
  paired?: { b: number; c: number; same?: number }
  stage: CanaryStage
  /** How old the newest counters are; null when there are none. */
  staleMs: number | null
}
