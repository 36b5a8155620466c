/**
 * The α-split: how the one false-rollback probability of a release is shared out among everything that may
 * take it back. Without it each metric, stage and look would spend its own five per cent, and a good release
 * watched long enough would always be rolled back. The split is frozen into the release when it starts.
 */

/** The probability that each watch takes back a release that is no worse than its champion. */
export interface AlphaSplit {
  /** Requests that failed. */
  errors: number
  /** Bad answers above the absolute limit, whatever the champion does. */
  guard: number
  /** Answers slower than the champion's 95th percentile before the release. */
  slow95: number
  /** Answers slower than the champion's 99th percentile before the release. */
  slow99: number
  /** Answers that are none: not finite, or outside of the schema. */
  invalid: number
  /** Requests that both have answered and the champion alone got right. */
  paired: number
  /** Wanted outcomes that are rarer. */
  conversion: number
  /** Kept for the harm budget: small but proven damage that no single metric acts on. */
  reserve: number
}

export const defaultAlpha: AlphaSplit = {
  errors: 0.01,
  guard: 0.001,
  slow95: 0.005,
  slow99: 0.005,
  invalid: 0.005,
  paired: 0.01,
  conversion: 0.01,
  reserve: 0.004,
}

/** Σα: the most often a good release is rolled back, over all metrics, stages and looks. */
export function totalAlpha(split: AlphaSplit): number {
  return Object.values(split).reduce((sum: number, alpha: number) => sum + alpha, 0)
}

/** Says what is wrong with a split; an empty list means it keeps the promise of `limit`. */
export function checkAlpha(split: AlphaSplit, limit = 0.05): string[] {
  const issues = (Object.keys(defaultAlpha) as (keyof AlphaSplit)[])
    .filter((name) => !(split[name] > 0 && split[name] < 1))
    .map((name) => `alpha.${name} is ${split[name]}, it must lie between 0 and 1`)
  const total = totalAlpha(split)
  if (!(total <= limit + 1e-12)) issues.push(`the split sums to ${total}, more than ${limit}`)
  return issues
}

/** The log of the evidence at which a watch with this α acts (Ville's inequality). */
export function thresholdFor(alpha: number): number {
  return Math.log(1 / alpha)
}
