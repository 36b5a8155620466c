/**
 * Accounts for the harm of a release: its failures above the champion's rate, and the next share that the rest of the budget allows. A
 * doubtful candidate is exposed more slowly than a good one.
 */
import { fourDigits, ratioOf } from '../figures.ts'
import { betaQuantile, thresholdFor } from '@tenure/sequential'
import type { Reason } from '../verdict.ts'
import type { CanaryPolicy } from './policy.ts'

/** The requests and failures of one stage or one share. */
export interface ExposureCounts {
  canaryRequests: number
  canaryBad: number
  controlRequests: number
  controlBad: number
}

/**
 * Σ over stages of max(0, x − n·p̂b): x failures in n canary requests, p̂b the failure rate of the control. A stage without control
 * traffic counts every failure.
 */
export function excessBad(stages: readonly ExposureCounts[]): number {
  return stages.reduce((sum, stage) => {
    const base = ratioOf(stage.controlBad, stage.controlRequests) ?? 0
    return sum + Math.max(0, stage.canaryBad - stage.canaryRequests * base)
  }, 0)
}

/**
 * The reason when the harm budget is spent; null before. Evidence is required as well, because chance alone spends the budget of a long
 * release.
 */
export function harmReason(
  { alpha, harmBudget: budget }: CanaryPolicy,
  { excess, logE, atMs }: { excess: number; logE: number; atMs: number },
): Reason | null {
  const threshold = thresholdFor(alpha.reserve)
  if (logE < threshold || excess < budget) return null
  const message = `${fourDigits(excess)} failures beyond those of the champion, failure budget ${budget}: logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}`
  return { code: 'harm_budget', message, values: { excess, budget, logE, threshold, atMs } }
}

export interface RampInput {
  /** The share in force, in basis points. */
  currentBp: number
  /** The highest share of a canary before 100 %, in basis points. */
  capBp: number
  /** The rest of the budget, in failures. */
  budgetLeft: number
  /** Requests per second over both arms. */
  requestsPerSecond: number
  /** The time from a fault until the canary is dropped: tick length plus reaction time. */
  reactionSeconds: number
  seen: ExposureCounts
}

const steps = [100, 500, 1000, 2500, 5000] as const

/**
 * The next share: min(cap, 3·current, budgetLeft / (rate·reaction·U)), rounded down to 1, 5, 10, 25 or 50 %. U = BetaInv(0.95; ½+x,
 * ½+n−x) − p̂b bounds how much worse than the control the canary may be after x failures in n requests. Never below the current share,
 * because only the judge rolls back. Null for negative or infinite numbers and for x > n.
 */
export function nextShareBp(input: RampInput): number | null {
  const { currentBp, capBp, budgetLeft, requestsPerSecond, reactionSeconds, seen } = input
  const { canaryRequests: n, canaryBad: x } = seen
  const numbers = [currentBp, capBp, budgetLeft, requestsPerSecond, reactionSeconds, n, x]
  if (!numbers.every((value) => Number.isFinite(value) && value >= 0) || x > n) return null
  const worst = betaQuantile(0.95, 0.5 + x, 0.5 + n - x)
  if (worst === null) return null
  const headroom = Math.max(1e-4, worst - (ratioOf(seen.controlBad, seen.controlRequests) ?? 0))
  const exposed = requestsPerSecond * reactionSeconds * headroom
  const affordableBp = exposed > 0 ? (budgetLeft / exposed) * 10_000 : capBp
  const targetBp = Math.min(capBp, currentBp > 0 ? 3 * currentBp : steps[0], affordableBp)
  const step = steps.filter((bp) => bp <= targetBp).at(-1) ?? 0
  return Math.max(currentBp, step)
}
