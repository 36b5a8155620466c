/**
 * Defines the evidence of the canary judge: counts per tick and arm, the stage, and the age of the counts. Counters, simulator and judge
 * share these types, so that they count the same events.
 */
import type { BreakerCounts } from '../serving/circuit-breaker.ts'
import type { BusinessEvidence } from './business-metric.ts'
import type { DisagreementEvidence } from './disagreement.ts'
import type { ArmLosses } from './holdback.ts'
import type { PredictedAnswers } from './predicted-answers.ts'
import type { ExternalEvidence } from './external/external-metric.ts'
import type { ServedRows } from '../monitoring/training-serving-skew.ts'

/** Counts of one arm in one complete tick. A routing key counts as failed at most once per metric and release, over all replicas. */
export interface ArmCounts {
  requests: number
  /** Failures caused by the model: 5xx and timeouts, never a client's 4xx. */
  errors: number
  /** Outputs that were not finite or outside the output schema. */
  invalid: number
  /** Responses slower than the champion's 95th percentile, which is fixed before the release. */
  slow95: number
  /** Responses slower than the champion's 99th percentile, which is fixed before the release. */
  slow99: number
  /**
   * Routing keys with their first request to this version in the stage. Each is one independent draw, however many requests it sends.
   * Absent when keys are not counted.
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
  /** Whether the candidate got copies only, in a shadow: its failures are evidence, but they harm no caller. */
  shadow?: boolean
  /**
   * Callers who were selected to get the candidate first. Their failures count as harm, but they are not compared with an arm. Absent
   * without such callers.
   */
  targeted?: ArmCounts
}

export interface CanaryStage {
  index: number
  shareBp: number
  /** The share of the next canary stage; absent in the last one. */
  nextShareBp?: number
  /** The start of the stage, on the clock of the ticks. */
  startedMs: number
  elapsedMs: number
  minMs: number
  /** Requests that the canary must serve in this stage. */
  minRequests: number
  /** Whether the release reaches 100 % after this stage. */
  last: boolean
  /** Whether the candidate is already champion, so that no proof for promotion is needed. */
  promoted?: boolean
  /** Whether only targeted callers get the candidate: nothing is compared, and their requests count for the stage. */
  targeted?: boolean
  /** Whether the candidate gets copies of requests that the champion answers: a shadow. */
  shadow?: boolean
}

/** Names the requests of the candidate in a stage. */
export function armNoun({ shadow, promoted }: Pick<CanaryStage, 'shadow' | 'promoted'>): string {
  if (shadow === true) return 'shadow requests'
  return promoted === true ? 'requests of the new champion' : 'canary requests'
}

export interface CanaryEvidence {
  /** All ticks since the canary began, over all stages, in order. Stages do not reset them. */
  ticks: CanaryTick[]
  /** The losses of both versions on the same requests, whose outcomes have come. */
  pairedLosses?: ArmLosses
  /** Such requests in evidence stored by earlier versions: `b` where only the champion is right, `c` where only the candidate, else `same`. */
  paired?: { b: number; c: number; same?: number }
  /** Answers of both versions to the same requests. */
  disagreement?: DisagreementEvidence
  /** What users did after their first request, by metric. */
  business?: BusinessEvidence
  /** What other systems have measured for the arms, by metric. */
  external?: ExternalEvidence
  /** The served rows of the stage beside the training path; absent where none are compared, as in a simulation. */
  served?: ServedRows
  /** The names of the bins of `answers`. */
  answerNames?: readonly string[]
  /** In how many bins one answer is counted: one per number. Default: 1. */
  answersPerKey?: number
  /** What the gate has seen of both versions' answers to its test rows; absent when the gate has not compared them. */
  predicted?: PredictedAnswers
  /** The questions that an approver has answered; they no longer hold the release. */
  accepted?: readonly string[]
  /** Whether an admin has ordered the promotion, which answers questions, but no finding against the candidate. */
  breakGlass?: true
  /** The circuit breakers of the replicas that serve the candidate; absent when none is counted. */
  breakers?: BreakerCounts
  stage: CanaryStage
  /** The age of the newest counters; null without counters. */
  staleMs: number | null
}
