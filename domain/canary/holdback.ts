/**
 * Compares the losses in [0, 1] of two versions on matured outcomes, for every task. Users of two arms that serve at the same time: each
 * loss is set against the mean of its own block of the larger arm, so a new champion is judged against the holdback of the previous one,
 * under the same world. Requests that both versions answered: the two losses of a request.
 */
import { outputNames } from '@tenure/predictors/features'
import { fourDigits } from '../figures.ts'
import { isOfNumbers, type Output, type OutcomeValue } from '../tasks/output.ts'
import type { Manifest } from '../model/manifest.ts'
import { scoreRanges } from '../model/reference-profile.ts'
import { defaultLabelPolicy } from '../monitoring/label-maturity.ts'
import { truthOf } from '../model/outcome.ts'
import {
  countDifferences,
  differenceCounter,
  drawsOf,
  meanAboveEvidence,
  meanOf,
  sumOf,
  thresholdFor,
  type ValueCounts,
} from '@tenure/sequential'
import type { Reason } from '../verdict.ts'
import type { AbPrediction } from './ab-cohorts.ts'
import { lossText, type JudgedLoss } from '../tasks/losses.ts'
import { sharedOutput, numbersOf, outputsOfAnswer, taskOf, truthWidth } from '../tasks/tasks.ts'

export interface ArmLosses {
  /** The loss. Absent in evidence that was stored before releases were judged by that of their gate. */
  judged?: JudgedLoss
  /** Of candidate − control: one for each block of users, or for each pair. */
  differences: ValueCounts
  /** How many outcomes are known, and the sum of their losses. */
  candidate: { total: number; loss: number }
  control: { total: number; loss: number }
}

/** How many users of each arm make a block. */
export type BlockSizes = Readonly<Record<AbPrediction['arm'], number>>

/** The blocks at a share of the candidate in basis points: one user of the smaller arm, and as many of the larger one as it has. */
export function blocksOf(shareBp: number): BlockSizes {
  const smallerBp = Math.min(shareBp, 10_000 - shareBp)
  const larger = Math.max(1, Math.floor((10_000 - smallerBp) / smallerBp))
  return shareBp < 5_000 ? { canary: 1, control: larger } : { canary: larger, control: 1 }
}

/** How the answers of a version are scored. */
export interface ScoredVersion {
  output: Output
  /** The range of each number that counts as 1; 0 for one that does not count, empty where it is unknown. */
  scales?: readonly number[]
  /** The output of the other version, whose classes are known outcomes too: of one that this version lacks, every answer is wrong. */
  other?: Output
}

export interface LossQuestion {
  judged: JudgedLoss
  by: Readonly<Record<AbPrediction['arm'], ScoredVersion>>
  /** Fixed by the shares, and not by the users who came. */
  blocks: BlockSizes
}

export interface LossCounter {
  /** Adds a matured prediction, one a user and arm, in the order of their times. */
  add(prediction: AbPrediction): void
  /** Undefined while too few outcomes have come. */
  losses(): ArmLosses | undefined
}

/** Sums the losses of predictions that are added one by one. Memory grows only with the blocks by which one arm is ahead of the other. */
export function lossCounter({ judged, by, blocks }: LossQuestion): LossCounter {
  const differences = differenceCounter()
  const arms = {
    canary: { total: 0, loss: 0, blockLoss: 0 },
    control: { total: 0, loss: 0, blockLoss: 0 },
  }
  /** The means of the blocks of one arm that have no counterpart yet, from `next` on. */
  let waiting: { arm: AbPrediction['arm']; means: number[]; next: number } | undefined
  let matured = 0
  return {
    add({ arm, outputs, value }) {
      matured++
      const loss = value === null ? null : lossOf(judged, by[arm], { outputs, value })
      if (loss === null) return
      const own = arms[arm]
      own.total++
      own.loss += loss
      own.blockLoss += loss
      if (own.total % blocks[arm] > 0) return
      const mean = own.blockLoss / blocks[arm]
      own.blockLoss = 0
      if (waiting === undefined || waiting.next === waiting.means.length)
        waiting = { arm, means: [mean], next: 0 }
      else if (waiting.arm === arm) waiting.means.push(mean)
      else {
        const other = waiting.means[waiting.next++]!
        differences.add(arm === 'canary' ? mean - other : other - mean)
      }
    },
    losses() {
      const { canary, control } = arms
      const known = canary.total + control.total
      if (matured === 0 || known < defaultLabelPolicy.minCoverage * matured) return undefined
      return {
        judged,
        differences: differences.counts(),
        candidate: counted(canary),
        control: counted(control),
      }
    },
  }
}

const counted = ({ total, loss }: ArmLosses['control']) => ({ total, loss })

/** A request that both versions answered, with its outcome. */
export interface AnsweredPair extends Readonly<
  Record<AbPrediction['arm'], Readonly<Record<string, unknown>>>
> {
  /** Null while none is known. */
  value: OutcomeValue | null
}

/** A pair, and whose answer its caller received. */
export interface ServedPair extends AnsweredPair {
  served: AbPrediction['arm']
}

/** The outputs of both versions; undefined where an answer keeps a decision only. */
export function answersOfPair(
  pair: AnsweredPair,
  outputs: Readonly<Record<AbPrediction['arm'], Output>>,
): Record<AbPrediction['arm'], number[]> | undefined {
  const canary = outputsOfAnswer(outputs.canary, pair.canary)
  const control = outputsOfAnswer(outputs.control, pair.control)
  return canary && control && { canary, control }
}

const totalOf = (losses: number[]) => ({ total: losses.length, loss: sumOf(losses) })

/** The losses of both versions on the same requests; undefined where no outcome shows any. */
export function pairedLosses(
  pairs: readonly AnsweredPair[],
  { judged, by }: Omit<LossQuestion, 'blocks'>,
): ArmLosses | undefined {
  const outputs = { canary: by.canary.output, control: by.control.output }
  const losses = pairs.flatMap((pair) => {
    const { value } = pair
    const answers = answersOfPair(pair, outputs)
    if (answers === undefined || value === null) return []
    const canary = lossOf(judged, by.canary, { outputs: answers.canary, value })
    const control = lossOf(judged, by.control, { outputs: answers.control, value })
    return canary === null || control === null ? [] : [{ canary, control }]
  })
  if (losses.length === 0) return undefined
  return {
    judged,
    differences: countDifferences(losses.map(({ canary, control }) => canary - control)),
    candidate: totalOf(losses.map(({ canary }) => canary)),
    control: totalOf(losses.map(({ control }) => control)),
  }
}

/** The losses of pairs by which version was right: `b` where only the control, `c` where only the candidate, `same` where both or neither. */
export function lossesOfDecisions({ b, c, same = 0 }: { b: number; c: number; same?: number }): ArmLosses {
  const total = b + c + same
  return {
    judged: { loss: 'accuracy' },
    differences: [c, same, b],
    candidate: { total, loss: b },
    control: { total, loss: c },
  }
}

/** The loss of an answer; null where the outcome does not show it. */
export function lossOf(
  { loss, threshold }: JudgedLoss,
  { output, scales = [], other }: ScoredVersion,
  { outputs, value }: Pick<AbPrediction, 'outputs'> & { value: OutcomeValue },
): number | null {
  const isElsewhere = other !== undefined && truthOf(value, other) !== null
  const truths = truthOf(value, output) ?? (isElsewhere ? [-1] : null)
  return truths && (taskOf(output).losses[loss]?.(output, outputs, truths, { scales, threshold }) ?? null)
}

/**
 * How the answers of two versions are scored alike: in the ranges of the baseline's numbers, each found by its name, and only of numbers
 * that both answer. Undefined where they answer nothing that can be compared.
 */
export function scoredAlike(
  candidate: Output,
  { output: baseline, profile }: Pick<Manifest, 'output' | 'profile'>,
): LossQuestion['by'] | undefined {
  const shared = sharedOutput(baseline, candidate)
  if (shared === undefined)
    // Versions that decide between other classes are right or wrong all the same.
    return baseline.kind === candidate.kind && taskOf(baseline).decides !== undefined
      ? { canary: { output: candidate, other: baseline }, control: { output: baseline, other: candidate } }
      : undefined
  const ranges = scalesOfNumbers(baseline, profile)
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

/** Why the losses of numbers could never be compared; undefined when they can, and where answers are decisions. */
export function issueOfLosses(
  candidate: Output,
  champion: Pick<Manifest, 'output' | 'profile'>,
): string | undefined {
  if (!isOfNumbers(champion.output)) return undefined
  const { scales = [] } = scoredAlike(candidate, champion)?.control ?? {}
  if (scales.some((scale) => scale > 0)) return undefined
  return (
    "the losses of the versions cannot be compared: they share no number, or the range of the champion's answers is not known; " +
    'release once without nonInferiority and the metric loss, or set min and max of the label'
  )
}

/** The ranges of the numbers in training; of a version made elsewhere, that of its label's limits. Empty where neither is known. */
export function scalesOfNumbers(output: Output, profile: Manifest['profile']): number[] {
  if (profile !== undefined || !isOfNumbers(output)) return scoreRanges(profile)
  const { min, max } = output
  return min === undefined || max === undefined
    ? []
    : Array.from({ length: truthWidth(output) }, () => max - min)
}

const placeOf = (output: Output, name: string): number => outputNames(output).indexOf(name)

export interface HoldbackFinding {
  logE: number
  /** The candidate loses more, with certainty. */
  reason: Reason | null
}

/** The evidence against H0 "the candidate's loss is at most the control's". */
export const worseLogE = ({ differences }: ArmLosses): number => meanAboveEvidence(differences, 0.5) ?? 0

/** The evidence against H0 "the candidate's loss is the control's and at least `margin` more". A margin of 0: the candidate is better. */
export const notWorseLogE = ({ differences }: ArmLosses, margin: number): number =>
  meanAboveEvidence(differences.toReversed(), (1 - margin) / 2) ?? 0

/** How much more the candidate loses, in the mean over the differences. */
export const lossDelta = ({ differences }: ArmLosses): number => 2 * (meanOf(differences) ?? 0.5) - 1

/** H0: the candidate's loss is at most the control's. */
export function judgeHoldback(losses: ArmLosses, alpha: number, minDelta: number): HoldbackFinding {
  const { differences, candidate, control } = losses
  const logE = worseLogE(losses)
  const threshold = thresholdFor(alpha)
  const delta = lossDelta(losses)
  if (logE < threshold || delta < minDelta) return { logE, reason: null }
  const blocks = Math.round(drawsOf(differences))
  const message =
    `the mean loss ${lossNote(losses)}of ${candidate.total} matured outcomes is ${fourDigits(meanLoss(candidate))}, of ${control.total} of the ` +
    `holdback ${fourDigits(meanLoss(control))}: worse by ${fourDigits(delta)} over ${blocks} blocks, ` +
    `logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}`
  return { logE, reason: { code: 'holdback_quality', message, values: { delta, blocks, logE, threshold } } }
}

/** The loss in parentheses, before the rest of a sentence. */
export const lossNote = ({ judged }: Pick<ArmLosses, 'judged'>): string =>
  judged === undefined ? '' : `(${lossText(judged)}) `

export const meanLoss = ({ total, loss }: ArmLosses['candidate']): number | null =>
  total > 0 ? loss / total : null

/** Outcomes of the holdback that can excuse the champion. */
const minExcuse = 100

/** Whether the holdback is no better, so that lost quality is the world's and no version's fault. */
export const isHoldbackNoBetter = ({ candidate, control }: ArmLosses): boolean =>
  control.total >= minExcuse && candidate.total > 0 && meanLoss(candidate)! <= meanLoss(control)! + 1e-9
