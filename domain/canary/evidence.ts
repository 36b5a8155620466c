/**
 * Defines the evidence of the canary judge: counts per tick and arm, the stage, and the age of the counts. Counters, simulator and
 * judge share these types, so that all of them count the same events.
 */
import type { BreakerCounts } from '../serving/circuit-breaker.ts'
import type { BusinessEvidence } from './business-metric.ts'
import type { DisagreementEvidence } from './disagreement.ts'
import type { ExternalEvidence } from './external/external-metric.ts'

/** Counts of one arm in one tick, at completion. A routing key counts as failed at most once per metric and release. */
export interface ArmCounts {
  requests: number
  /** Failures caused by the model: 5xx and timeouts, never a client's 4xx. */
  errors: number
  /** Outputs that were not finite or outside the output schema. */
  invalid: number
  /** Responses slower than the champion's 95th percentile, as fixed before the release. */
  slow95: number
  /** Responses slower than the champion's 99th percentile, as fixed before the release. */
  slow99: number
  /**
   * Routing keys with their first request to this version in the stage: one independent draw each, however many requests they send.
   * Absent where they are not counted.
   */
  keys?: number
  /** How many of those keys got each answer, in the bins that `answerBins` fixes before the release. */
  answers?: readonly number[]
}

export interface CanaryTick {
  startMs: number
  /** The configured canary share in force during the whole tick; null when it changed within it. */
  shareBp: number | null
  canary: ArmCounts
  /** The concurrent cohort of the champion. */
  control: ArmCounts
  /** Callers who were chosen to meet the candidate first: their failures are harm, and are compared with no arm. Absent without any. */
  targeted?: ArmCounts
}

export interface CanaryStage {
  index: number
  shareBp: number
  /** The share of the next canary stage; absent in the last one. */
  nextShareBp?: number
  /** On the clock of the ticks. */
  startedMs: number
  elapsedMs: number
  minMs: number
  /** Requests that the canary must serve in this stage. */
  minRequests: number
  /** Whether the release reaches 100 % after this stage. */
  last: boolean
  /** Whether the candidate is champion already: nothing is to be proven for its promotion. */
  promoted?: boolean
  /** Whether only chosen callers meet the candidate: nothing is compared, and their requests count. */
  targeted?: boolean
}

export interface CanaryEvidence {
  /** All ticks since the canary began, over all stages, in order; stages do not reset them. */
  ticks: CanaryTick[]
  /**
   * Requests with a label and a prediction of both models: b = only the champion right; c = only the challenger right;
   * same = both right or both wrong, where it is counted.
   */
  paired?: { b: number; c: number; same?: number }
  /** Answers of both versions to the same requests. */
  disagreement?: DisagreementEvidence
  /** What users did after their first request, by metric. */
  business?: BusinessEvidence
  /** What other systems have measured of the arms, by metric. */
  external?: ExternalEvidence
  /** The names of the bins of `answers`. */
  answerNames?: readonly string[]
  /** How many of the answers a key counts for: of several numbers one of each. One when absent. */
  answersPerKey?: number
  /** The codes of questions that an approver has answered: they hold the release no longer. */
  accepted?: readonly string[]
  /** The circuit breakers of the replicas that serve the candidate; absent where none is counted. */
  breakers?: BreakerCounts
  stage: CanaryStage
  /** The age of the newest counters; null without counters. */
  staleMs: number | null
}
