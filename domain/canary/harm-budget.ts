/**
 * The harm ledger: how many bad answers a release has cost above what the champion would have given, and how
 * fast it may go on with what is left of its budget. Without it a ramp is a timetable: it exposes a doubtful
 * candidate as fast as a good one.
 */

import { betaQuantile } from '../statistics/distributions.ts'

/** What one stage (or one share) has seen so far. */
export interface ExposureCounts {
  canaryRequests: number
  canaryBad: number
  controlRequests: number
  controlBad: number
}

const rate = (bad: number, requests: number): number | null => (requests > 0 ? bad / requests : null)

/** Σ over stages of max(0, x − n·p̂b). A stage without control traffic counts every bad answer. */
export function excessBad(stages: readonly ExposureCounts[]): number {
  return stages.reduce((sum, stage) => {
    const base = rate(stage.controlBad, stage.controlRequests) ?? 0
    return sum + Math.max(0, stage.canaryBad - stage.canaryRequests * base)
  }, 0)
}

export interface RampInput {
  /** The share in force, in basis points. */
  currentBp: number
  /** The most the policy ever gives a canary before 100 %. */
  capBp: number
  /** What is left of the budget, in bad answers. */
  budgetLeft: number
  /** Requests per second over both arms. */
  requestsPerSecond: number
  /** How long a bad canary goes on before it is noticed and dropped: tick length plus the delay of acting. */
  reactionSeconds: number
  seen: ExposureCounts
}

const steps = [100, 500, 1000, 2500, 5000] as const

/**
 * The next share: min(cap, 3·current, budgetLeft / (rate·reaction·U)), rounded down to 1, 5, 10, 25 or 50 %,
 * where U = BetaInv(0.95; ½+x, ½+n−x) − p̂b is how much worse the canary may still be. Never below the current
 * share: raising is all a ramp decides, taking back is the judge's. Null for numbers that make no sense.
 */
export function nextShareBp(input: RampInput): number | null {
  const { currentBp, capBp, budgetLeft, requestsPerSecond, reactionSeconds, seen } = input
  const { canaryRequests: n, canaryBad: x } = seen
  const numbers = [currentBp, capBp, budgetLeft, requestsPerSecond, reactionSeconds, n, x]
  if (!numbers.every((value) => Number.isFinite(value) && value >= 0) || x > n) return null
  const worst = betaQuantile(0.95, 0.5 + x, 0.5 + n - x)
  if (worst === null) return null
  const headroom = Math.max(1e-4, worst - (rate(seen.controlBad, seen.controlRequests) ?? 0))
  const exposed = requestsPerSecond * reactionSeconds * headroom
  const affordableBp = exposed > 0 ? (budgetLeft / exposed) * 10_000 : capBp
  const wanted = Math.min(capBp, currentBp > 0 ? 3 * currentBp : steps[0], affordableBp)
  const step = steps.filter((bp) => bp <= wanted).at(-1) ?? 0
  return Math.max(currentBp, step)
}
