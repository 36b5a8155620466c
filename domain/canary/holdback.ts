/**
 * Compares the matured outcomes of two arms that serve at the same time, for every task: a loss in [0, 1] of each user, set against the
 * mean of its own block of the larger arm. So a new champion is judged against the holdback of the previous one, under the same world.
 */
import { outputNames } from '@tenure/predictors/features'
import { fourDigits } from '../figures.ts'
import type { Output, OutcomeValue } from '../tasks/output.ts'
import type { Manifest } from '../model/manifest.ts'
import { scoreRanges } from '../model/reference-profile.ts'
import { defaultLabelPolicy } from '../monitoring/label-maturity.ts'
import { truthOf } from '../model/outcome.ts'
import {
  countDifferences,
  drawsOf,
  meanAboveEvidence,
  meanOf,
  thresholdFor,
  type ValueCounts,
} from '@tenure/sequential'
import type { Reason } from '../verdict.ts'
import { horizonOf, type AbPrediction } from './ab-cohorts.ts'
import { sharedOutput, numbersOf, taskOf } from '../tasks/tasks.ts'

export interface HoldbackEvidence {
  /** Of candidate − control. */
  differences: ValueCounts
  candidate: { total: number; loss: number }
  control: { total: number; loss: number }
}

/** How the answers of a version are scored. */
export interface ScoredVersion {
  output: Output
  /** The range of each number that counts as 1; 0 for one that does not count, empty where it is unknown. */
  scales?: readonly number[]
}

export interface HoldbackQuestion {
  by: Readonly<Record<AbPrediction['arm'], ScoredVersion>>
  nowMs: number
  /** How many users of the larger arm one user of the smaller is compared with, fixed by the shares. */
  block: number
}

/**
 * The losses of the matured predictions, in the order of their times; undefined while the delay of outcomes is unknown or too few
 * outcomes have come. `canary` is the candidate, one prediction a user.
 */
export function holdbackEvidence(
  answered: readonly AbPrediction[],
  { by, nowMs, block }: HoldbackQuestion,
): HoldbackEvidence | undefined {
  const horizonMs = horizonOf(answered, nowMs)
  if (horizonMs === null) return undefined
  const matured = answered.filter(({ atMs }) => atMs < nowMs - horizonMs)
  const known = matured.flatMap(({ value, outputs, arm, atMs }) => {
    const loss = value === null ? null : lossOf(by[arm], outputs, value)
    return loss === null ? [] : [{ arm, atMs, loss }]
  })
  if (matured.length === 0 || known.length < defaultLabelPolicy.minCoverage * matured.length) return undefined
  const losses = { canary: [] as number[], control: [] as number[] }
  for (const { arm, loss } of known.toSorted((a, b) => a.atMs - b.atMs)) losses[arm].push(loss)
  const isCandidateLarge = losses.canary.length > losses.control.length
  const [large, small] = isCandidateLarge ? [losses.canary, losses.control] : [losses.control, losses.canary]
  const differences: number[] = []
  for (let i = 0; i < small.length && (i + 1) * block <= large.length; i++) {
    let sum = 0
    for (let k = i * block; k < (i + 1) * block; k++) sum += large[k]!
    differences.push(isCandidateLarge ? sum / block - small[i]! : small[i]! - sum / block)
  }
  const arm = (of: number[]) => ({ total: of.length, loss: of.reduce((sum, loss) => sum + loss, 0) })
  return {
    differences: countDifferences(differences),
    candidate: arm(losses.canary),
    control: arm(losses.control),
  }
}

/** Brier of a probability; wrong or right of a class; the absolute error of a number, or twice the pinball loss of quantiles, in units of the scale, at most 1; of several numbers the mean. */
export function lossOf(
  { output, scales = [] }: ScoredVersion,
  outputs: readonly number[],
  value: OutcomeValue,
): number | null {
  const truths = truthOf(value, output)
  if (truths === null) return null
  return taskOf(output).loss(output, outputs, truths, scales)
}

/**
 * How the answers of two versions are scored alike: in the ranges of the baseline's numbers, each found by its name, and only of numbers
 * that both answer. Undefined where they answer nothing that can be compared.
 */
export function scoredAlike(
  candidate: Output,
  { output: baseline, profile }: Pick<Manifest, 'output' | 'profile'>,
): HoldbackQuestion['by'] | undefined {
  const shared = sharedOutput(baseline, candidate)
  if (shared === undefined) return undefined
  const ranges = scoreRanges(profile)
  const scalesOf = (output: Output) => {
    const names = numbersOf(output)
    const scaleOf = (name: string) => (placeOf(shared, name) < 0 ? 0 : (ranges[placeOf(baseline, name)] ?? 0))
    return names.length === 0 ? ranges : names.map(scaleOf)
  }
  return {
    canary: { output: candidate, scales: scalesOf(candidate) },
    control: { output: baseline, scales: scalesOf(baseline) },
  }
}

const placeOf = (output: Output, name: string): number => outputNames(output).indexOf(name)

export interface HoldbackFinding {
  logE: number
  /** The candidate loses more, with certainty. */
  reason: Reason | null
}

/** H0: the candidate's loss is at most the control's. */
export function judgeHoldback(
  { differences, candidate, control }: HoldbackEvidence,
  alpha: number,
  minDelta: number,
): HoldbackFinding {
  const logE = meanAboveEvidence(differences, 0.5) ?? 0
  const threshold = thresholdFor(alpha)
  const delta = 2 * (meanOf(differences) ?? 0.5) - 1
  if (logE < threshold || delta < minDelta) return { logE, reason: null }
  const blocks = drawsOf(differences)
  const message =
    `the mean loss of ${candidate.total} matured outcomes is ${fourDigits(meanLoss(candidate))}, of ${control.total} of the ` +
    `holdback ${fourDigits(meanLoss(control))}: worse by ${fourDigits(delta)} over ${blocks} blocks, ` +
    `logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}`
  return { logE, reason: { code: 'holdback_quality', message, values: { delta, blocks, logE, threshold } } }
}

export const meanLoss = ({ total, loss }: HoldbackEvidence['candidate']): number | null =>
  total > 0 ? loss / total : null

/** Outcomes of the holdback that can excuse the champion. */
const minExcuse = 100

/** Whether the holdback is no better, so that lost quality is the world's and no version's fault. */
export const isHoldbackNoBetter = ({ candidate, control }: HoldbackEvidence): boolean =>
  control.total >= minExcuse && candidate.total > 0 && meanLoss(candidate)! <= meanLoss(control)! + 1e-9
