/**
 * Builds the evidence of the canary judge from the counters of the replicas. Candidate and control are matched by version, not by
 * arm, so that the evidence continues from shadow through canary to probation.
 */
import type { AbCohort } from '../canary/ab-cohorts.ts'
import type { BreakerCounts } from '../serving/circuit-breaker.ts'
import { businessCode, type BusinessEvidence } from '../canary/business-metric.ts'
import {
  externalCode,
  externalErrorCode,
  externalUnreadCode,
  type ExternalEvidence,
} from '../canary/external/external-metric.ts'
import type { DisagreementEvidence } from '../canary/disagreement.ts'
import { coverageReason, pairCoverageReason, type Coverage, type PairCoverage } from '../canary/coverage.ts'
import type { PredictedAnswers } from '../canary/predicted-answers.ts'
import type { ArmLosses } from '../canary/holdback.ts'
import type { ServedRows } from '../monitoring/training-serving-skew.ts'
import type { ArmCounts, CanaryEvidence, CanaryTick } from '../canary/evidence.ts'
import { sumOf } from '@tenure/sequential'
import { disagreementCode, scoreShiftCode, type Reason } from '../verdict.ts'
import { isBreakGlass, observedStage, stepsOf, watchedPolicy, type JudgedState } from './state.ts'

/** The counts of one version and arm in one tick of one generation, over all replicas. */
export interface CountedTick extends ArmCounts {
  version: string
  /** Absent in tests of one arm. */
  arm?: string
  generation: number
  /** The start of the tick, on the database's clock. */
  tickMs: number
  /** The length of the tick. */
  lengthMs: number
}

/**
 * All ticks in which the candidate was in the route, oldest first. The tick in which a shadow ends becomes two, so that its copies, which
 * are many, do not dilute the first served requests.
 */
export function canaryTicks(state: JudgedState, counted: readonly CountedTick[]): CanaryTick[] {
  const ticks = new Map<string, { tick: CanaryTick; generations: Set<number> }>()
  const shadows = new Set(
    state.routings.filter(({ stage }) => stage === 'shadow').map((each) => each.generation),
  )
  for (const row of counted) {
    const arm = sideOf(state, row)
    if (arm === undefined) continue
    const shadow = shadows.has(row.generation)
    const key = `${row.tickMs} ${shadow}`
    let found = ticks.get(key)
    if (found === undefined) {
      const tick: CanaryTick = { startMs: row.tickMs, shareBp: null, canary: nothing(), control: nothing() }
      if (shadow) tick.shadow = true
      ticks.set(key, (found = { tick, generations: new Set() }))
    }
    found.generations.add(row.generation)
    if (arm === 'targeted') found.tick.targeted ??= nothing()
    addCounts(found.tick[arm]!, row)
  }
  return [...ticks.values()]
    .map(({ tick, generations }) => ({ ...tick, shareBp: shareOf(state, generations) }))
    .sort((a, b) => a.startMs - b.startMs || Number(b.shadow ?? false) - Number(a.shadow ?? false))
}

/** Targeted callers are counted separately, because a difference may come from the callers and not from the version. */
function sideOf(
  { version, baseline }: JudgedState,
  row: CountedTick,
): 'canary' | 'control' | 'targeted' | undefined {
  if (row.arm === 'targeted') return row.version === version ? 'targeted' : undefined
  return row.version === version ? 'canary' : row.version === baseline ? 'control' : undefined
}

/** The configured share during a tick; null when it changed within the tick, or when the candidate received copies only. */
function shareOf(state: JudgedState, generations: ReadonlySet<number>): number | null {
  const [generation] = generations
  if (generations.size !== 1) return null
  const routed = state.routings.find((each) => each.generation === generation)
  // In a rolling release the load balancer decides how much traffic the replicas of the candidate get.
  return routed === undefined ||
    routed.stage === 'shadow' ||
    routed.stage === 'targeted' ||
    routed.replicas !== undefined
    ? null
    : routed.shareBp
}

const nothing = (): ArmCounts => ({ requests: 0, errors: 0, invalid: 0, slow95: 0, slow99: 0 })

function addCounts(sum: ArmCounts, row: CountedTick): void {
  for (const name of ['requests', 'errors', 'invalid', 'slow95', 'slow99'] as const) sum[name] += row[name]
  if (row.keys !== undefined) sum.keys = (sum.keys ?? 0) + row.keys
  const { answers } = row
  if (answers === undefined || answers.length === 0) return
  const { answers: before } = sum
  if (before === undefined) sum.answers = answers
  // Another build of the same route counts other bins; only equal ones add up.
  else if (before.length === answers.length) sum.answers = before.map((count, i) => count + answers[i]!)
}

/** The codes of questions that a break-glass release does not wait for. */
const questionCodes = [
  scoreShiftCode,
  disagreementCode,
  businessCode,
  externalCode,
  externalErrorCode,
  externalUnreadCode,
]

/** The comparisons of outcomes: fields of an observation. */
export type OutcomeComparison = 'holdback' | 'cohorts' | 'losses'

export interface Observation {
  counted: readonly CountedTick[]
  /** The age of the oldest last count over the live replicas, in milliseconds; null when no replica is live. */
  staleMs: number | null
  /** How long the stage has been observed. */
  watchedMs: number
  /** The circuit breakers of the live replicas that serve the candidate; absent where none is counted. */
  breakers?: BreakerCounts
  /** The losses of both versions on requests that both answered and whose outcomes have come; absent without such requests. */
  pairedLosses?: ArmLosses
  /** Such requests in looks stored by earlier versions, by which version was right. */
  paired?: { b: number; c: number; same: number }
  /** Answers of both versions to the same requests; absent without any. */
  disagreement?: DisagreementEvidence
  /** What users of both arms did after their first request; absent when the policy has no business metric. */
  business?: BusinessEvidence
  /** What other systems have measured for the arms; absent when the policy has no external metric. */
  external?: ExternalEvidence
  /** The served rows of the candidate in this stage beside the training path. */
  served?: ServedRows
  /** What the gate has seen of both versions' answers to its test rows. */
  predicted?: PredictedAnswers
  /** The names of the bins of the answers. */
  answerNames?: readonly string[]
  /** In how many bins one answer is counted. Default: 1. */
  answersPerKey?: number
  /** The matured outcomes of a probation and of its holdback. */
  holdback?: ArmLosses
  /** The matured outcomes of both arms of an A/B release: events, or losses, as its metric asks. */
  cohorts?: AbCohort[]
  losses?: ArmLosses
  /** For which answers the outcomes of a comparison are known. */
  coverage?: Partial<Record<OutcomeComparison, Coverage>>
  /** The same of the pairs: of those that the control served, and of the reversed ones of a probation. */
  pairCoverage?: Partial<Record<'shadow' | 'pairedLosses', PairCoverage>>
  /** Outcomes are still being read, so that no stage passes yet. */
  isUnread?: true
}

/** The two sides of each comparison. */
const sidesOf: Readonly<Record<OutcomeComparison, readonly [string, string]>> = {
  holdback: ['answers of the champion', 'of the holdback'],
  cohorts: ['answers of the candidate', 'of the champion'],
  losses: ['answers of the candidate', 'of the champion'],
}

/** Why comparisons of outcomes are not judged; of a business metric by `business/NAME`. */
export type HeldComparisons = Readonly<Record<string, Reason>>

/** Finds the comparisons that have outcomes for different shares of the answers of their two sides. */
export function heldComparisons({
  coverage = {},
  pairCoverage = {},
  business = {},
}: Pick<Observation, 'coverage' | 'pairCoverage' | 'business'>): HeldComparisons {
  const held: Record<string, Reason> = {}
  for (const [name, counts] of Object.entries(pairCoverage)) {
    const reason = counts && pairCoverageReason(counts)
    if (reason !== undefined) held[name] = reason
  }
  for (const [name, sides] of Object.entries(sidesOf)) {
    const counts = coverage[name as OutcomeComparison]
    const reason = counts && coverageReason(counts, sides)
    if (reason !== undefined) held[name] = reason
  }
  for (const [metric, figures] of Object.entries(business)) {
    const reason =
      figures.coverage && coverageReason(figures.coverage, ['users of the candidate', 'of the control'])
    if (reason === undefined) continue
    const { code, message, values } = reason
    held[`business/${metric}`] = { code, message: `${metric}: ${message}`, values: { ...values, metric } }
  }
  return held
}

/**
 * The observation without those comparisons: no judge sees them, so that they neither fail a candidate nor prove anything for it. The losses of
 * a shadow stay: what they hold against a candidate is true even where they favour it.
 */
export function withoutHeld(seen: Observation, held: HeldComparisons): Observation {
  const rest = Object.fromEntries(Object.entries(seen).filter(([field]) => !Object.hasOwn(held, field)))
  const business = Object.entries(seen.business ?? {}).filter(
    ([metric]) => !Object.hasOwn(held, `business/${metric}`),
  )
  return { ...(rest as Observation), ...(seen.business && { business: Object.fromEntries(business) }) }
}

/** Whether the observed stage needs the proofs of the last one. Break-glass waits for none; findings against the candidate still count. */
export function isLastStage(state: JudgedState): boolean {
  const stage = observedStage(state)
  const last = stepsOf(state).at(-1)
  return (
    stage === 'probation' ||
    (!isBreakGlass(state) && last?.stage === stage && last.stageIndex === state.stageIndex)
  )
}

/**
 * The evidence for one verdict. The elapsed time of a stage is the time in which it was both observed and counted, so that a gap in
 * either cannot let it pass early.
 */
export function canaryEvidenceOf(
  state: JudgedState,
  {
    counted,
    watchedMs,
    holdback: _holdback,
    cohorts: _cohorts,
    losses: _losses,
    coverage: _coverage,
    pairCoverage: _pairCoverage,
    isUnread: _isUnread,
    ...evidence
  }: Observation,
): CanaryEvidence {
  const ticks = canaryTicks(state, counted)
  const routed = state.routings.at(-1)
  const startedMs = routed?.startedMs ?? 0
  const lengthMs = new Map(counted.map((row) => [row.tickMs, row.lengthMs]))
  const inStage = new Set(ticks.map(({ startMs }) => startMs).filter((startMs) => startMs >= startedMs))
  const countedMs = sumOf([...inStage].map((startMs) => lengthMs.get(startMs) ?? 0))
  const policy = watchedPolicy(state)
  const stage = observedStage(state)
  const nextShareBp = stage === 'canary' ? state.policy.stages[state.stageIndex + 1]?.shareBp : undefined
  return {
    ticks,
    stage: {
      index: Math.max(0, state.routings.length - 1),
      // The champion serves each copied request as well.
      shareBp:
        stage === 'shadow' ? Math.round((10_000 * state.shareBp) / (10_000 + state.shareBp)) : state.shareBp,
      nextShareBp,
      startedMs,
      elapsedMs: Math.min(watchedMs, countedMs),
      minMs: policy?.minMs ?? 0,
      minRequests: policy?.minRequests ?? 0,
      last: isLastStage(state),
      promoted: state.promoted || undefined,
      targeted: stage === 'targeted' || undefined,
      shadow: stage === 'shadow' || undefined,
    },
    ...evidence,
    // Break-glass answers every question; findings against the candidate still count.
    ...(isBreakGlass(state) ? { accepted: questionCodes, breakGlass: true } : { accepted: state.accepted }),
  }
}
