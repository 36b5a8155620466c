/**
 * Splits the false-rollback probability of a release among its metrics. Otherwise each metric, stage and look would spend its own five
 * per cent, and a good release observed long enough would always be rolled back.
 */
import { thresholdFor } from '@tenure/sequential'

/**
 * The probability, for each test, that it acts (rolls back or asks an approver) on a candidate that is no worse than its champion.
 */
export interface AlphaSplit {
  /** Requests that failed. */
  errors: number
  /** Failed requests above the absolute limit, independently of the champion; half for the judge, half for the circuit breakers. */
  guard: number
  /** Requests slower than the champion's 95th percentile before the release. */
  slow95: number
  /** Requests slower than the champion's 99th percentile before the release. */
  slow99: number
  /** Invalid outputs: not finite, or outside of the schema. */
  invalid: number
  /** The losses of both versions on the same requests. */
  paired: number
  /** Matured outcomes of the two arms: an A/B release by accuracy, loss or errors, and a probation. */
  quality: number
  /** The shares of the answers of the two arms. */
  scoreShift: number
  /** Requests that the two versions answer differently. */
  disagreement: number
  /** Conversions of an A/B release. */
  conversion: number
  /** What users do after their first request, over all business metrics together. */
  business?: number
  /** What other systems measure of the arms, over all external metrics together. */
  external?: number
  /** The failure budget: small but proven damage that no single metric acts on. */
  reserve: number
}

export const defaultAlpha: Omit<AlphaSplit, 'business' | 'external'> = {
  errors: 0.01,
  guard: 0.001,
  slow95: 0.005,
  slow99: 0.005,
  invalid: 0.005,
  paired: 0.008,
  quality: 0.004,
  scoreShift: 0.004,
  disagreement: 0.002,
  conversion: 0.002,
  reserve: 0.004,
}

const businessShare = 0.002
/** The split of a policy with business metrics, whose share comes from the reserve. */
export const businessAlpha: Required<Omit<AlphaSplit, 'external'>> = {
  ...defaultAlpha,
  business: businessShare,
  reserve: defaultAlpha.reserve - businessShare,
}
const externalShare = 0.001

/** The split of a policy with business or external metrics, whose shares come from the reserve. */
export function alphaFor({ business, external }: { business: boolean; external: boolean }): AlphaSplit {
  const split = business ? businessAlpha : defaultAlpha
  return external ? { ...split, external: externalShare, reserve: split.reserve - externalShare } : split
}

/** Tests that need their own metrics. */
const optional: readonly string[] = ['business', 'external']

/** Σα: the maximum probability of rolling back a good release, over all metrics, stages and looks. */
export function totalAlpha(split: AlphaSplit): number {
  return Object.values(split).reduce((sum: number, alpha: number | undefined) => sum + (alpha ?? 0), 0)
}

const maxTotalAlpha = 0.05

/** The issues of a split; empty when it is valid. */
export function checkAlpha(split: AlphaSplit): string[] {
  const issues = ([...Object.keys(businessAlpha), 'external'] as (keyof AlphaSplit)[])
    .filter((name) => !(split[name] === undefined && optional.includes(name)))
    .filter((name) => !(split[name]! > 0 && split[name]! < 1))
    .map((name) => `alpha.${name} is ${split[name]}, it must lie between 0 and 1`)
  const total = totalAlpha(split)
  if (!(total <= maxTotalAlpha + 1e-12)) issues.push(`the split sums to ${total}, more than ${maxTotalAlpha}`)
  return issues
}

/**
 * The α of the absolute guard is halved: the judge tests the counts of all replicas, and the circuit breakers test the requests of each
 * replica.
 */
export const guardAlpha = ({ guard }: Pick<AlphaSplit, 'guard'>): number => guard / 2

/**
 * The α at which the circuit breaker of one replica opens. The evidence of all breakers is averaged, so more replicas need no smaller α
 * (Vovk and Wang, 2021: the mean of e-values is an e-value). When half of them have twice the evidence of their α, the mean reaches the
 * threshold.
 */
export const breakerAlpha = (split: Pick<AlphaSplit, 'guard'>): number => guardAlpha(split) / 2

/** The log evidence at which one of several metrics acts that share this α. */
export const sharedThreshold = (alpha: number, metrics: Readonly<Record<string, unknown>>): number =>
  thresholdFor(alpha / Math.max(1, Object.keys(metrics).length))
