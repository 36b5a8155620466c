/**
 * Compares for which share of their matured answers two sides have an outcome. Outcomes that are missing by the answer, such as those of
 * declined customers, leave each side another part of the world, so that equal versions seem to differ: such outcomes are not compared.
 */
import { srmEvidence, sumOf, thresholdFor } from '@tenure/sequential'
import { fourDigits, groupedDigits, percentText, ratioOf } from '../figures.ts'
import type { AnswerBins } from '../tasks/answer-bins.ts'
import type { Output } from '../tasks/output.ts'
import { answerCounter } from '../tasks/tasks.ts'
import type { Reason } from '../verdict.ts'
import { answersOfPair, type ServedPair } from './holdback.ts'
import type { AbPrediction } from './ab-cohorts.ts'

export interface CoveredAnswers {
  answers: number
  /** How many of them have an outcome. */
  outcomes: number
}

export interface Coverage {
  canary: CoveredAnswers
  control: CoveredAnswers
  /** The same by answer; absent where answers have no bins. */
  byAnswer?: Readonly<Record<string, CoveredAnswers>>
}

export const noAnswers = (): CoveredAnswers => ({ answers: 0, outcomes: 0 })

export function countAnswer(counts: CoveredAnswers, isKnown: boolean): void {
  counts.answers++
  if (isKnown) counts.outcomes++
}

/** Counts for which matured answers an outcome is known, by arm, and by answer in the bins of the champion. */
export function coverageCounter(
  outputs: Readonly<Record<AbPrediction['arm'], Output>>,
  bins: AnswerBins | undefined,
) {
  const names = bins?.names ?? []
  const counters = {
    canary: bins && answerCounter(bins, outputs.canary),
    control: bins && answerCounter(bins, outputs.control),
  }
  const arms = { canary: noAnswers(), control: noAnswers() }
  const [answers, outcomes] = [names.map(() => 0), names.map(() => 0)]
  return {
    add({ arm, outputs: answered, value }: AbPrediction): void {
      countAnswer(arms[arm], value !== null)
      const row = Float32Array.from(answered)
      counters[arm]?.(answers, row, 0)
      if (value !== null) counters[arm]?.(outcomes, row, 0)
    },
    counts: (): Coverage => ({
      ...arms,
      byAnswer: Object.fromEntries(
        names.map((name, i) => [name, { answers: answers[i]!, outcomes: outcomes[i]! }]),
      ),
    }),
  }
}

/** Of pairs, by each answer that one of two versions gave and the other did not: `canary` is the one that was not served. */
export type PairCoverage = Readonly<Record<string, Coverage>>

/**
 * Counts for which pairs an outcome is known. Both versions have the same outcomes; where they are missing by the answer, it is by that of
 * the served version, which then seems worse than an equal one: its scores are cut off, and those of the other are not.
 */
export function pairCoverage(
  pairs: readonly ServedPair[],
  outputs: Readonly<Record<AbPrediction['arm'], Output>>,
  bins: AnswerBins | undefined,
): PairCoverage | undefined {
  const counters = {
    canary: bins && answerCounter(bins, outputs.canary),
    control: bins && answerCounter(bins, outputs.control),
  }
  if (bins === undefined || counters.canary === undefined || counters.control === undefined) return undefined
  const { names } = bins
  const found = names.map(() => ({ canary: noAnswers(), control: noAnswers() }))
  for (const pair of pairs) {
    const answers = answersOfPair(pair, outputs)
    if (answers === undefined) continue
    const given = { canary: names.map(() => 0), control: names.map(() => 0) }
    for (const arm of ['canary', 'control'] as const)
      counters[arm]?.(given[arm === pair.served ? 'control' : 'canary'], Float32Array.from(answers[arm]), 0)
    found.forEach((counts, i) => {
      const more = given.canary[i]! - given.control[i]!
      if (more !== 0) countAnswer(counts[more > 0 ? 'canary' : 'control'], pair.value !== null)
    })
  }
  return Object.fromEntries(names.map((name, i) => [name, found[i]!]))
}

export const coverageCode = 'outcome_coverage'

/** The probability of holding a comparison whose outcomes are missing alike. */
const defaultAlpha = 0.001
/** A smaller difference of the shares moves no mean loss by more than the smallest one that counts. */
const minDelta = 0.01

/** Why the outcomes of two sides cannot be compared; undefined where their shares do not certainly differ. */
export function coverageReason(
  { canary, control, byAnswer = {} }: Coverage,
  [canaryNoun, controlNoun]: readonly [string, string],
  alpha = defaultAlpha,
): Reason | undefined {
  const [own, other] = [shareOf(canary), shareOf(control)]
  const logE = coverageLogE(canary, control)
  const threshold = thresholdFor(alpha)
  if (own === null || other === null || logE < threshold || Math.abs(own - other) < minDelta) return undefined
  const shown = (counts: CoveredAnswers) =>
    `${percentText(shareOf(counts) ?? 0)} of ${groupedDigits(counts.answers)}`
  const answers = Object.entries(byAnswer)
    .filter(([, counts]) => counts.answers > 0)
    .map(([name, counts]) => `"${name}" ${shown(counts)}`)
  const message =
    `outcomes are known for ${shown(canary)} ${canaryNoun}, for ${shown(control)} ${controlNoun}` +
    (answers.length === 0 ? '' : `; by answer: ${answers.join(', ')}`) +
    `: logE ${fourDigits(logE)} ≥ ${fourDigits(threshold)}; the outcomes cannot be compared`
  return { code: coverageCode, message, values: { canary: own, control: other, logE, threshold } }
}

/** The same of pairs, of which the version that was not served would seem better. */
export function pairCoverageReason(coverage: PairCoverage): Reason | undefined {
  const answers = Object.entries(coverage)
  for (const [answer, counts] of answers) {
    const sides = [
      `requests that only the copy answered "${answer}"`,
      'that only the served answer did',
    ] as const
    const reason = coverageReason(counts, sides, defaultAlpha / answers.length)
    if (reason !== undefined) return reason
  }
  return undefined
}

const shareOf = ({ answers, outcomes }: CoveredAnswers): number | null => ratioOf(outcomes, answers)

/**
 * The evidence against H0 "outcomes are missing on both sides alike", at every look: the missing ones are then divided as the answers are.
 * Of missing and known outcomes the rarer are tested, which are nearer to independent draws. The answers' own division makes the test
 * conservative.
 */
function coverageLogE(canary: CoveredAnswers, control: CoveredAnswers): number {
  const sides = [canary, control]
  const known = sides.map(({ outcomes }) => outcomes)
  const missing = sides.map(({ answers, outcomes }) => answers - outcomes)
  const [one = 0, two = 0] = sumOf(missing) <= sumOf(known) ? missing : known
  const share = ratioOf(canary.answers, canary.answers + control.answers)
  return share === null ? 0 : (srmEvidence(one, two, share) ?? 0)
}
