/** Defines what the champion of a simulated release answers and how its outcomes arrive: as recorded, or by defaults. */
import { defaultLabelPolicy } from '../monitoring/label-maturity.ts'
import { normalCdf, normalQuantile, sumOf } from '@tenure/sequential'

/** The answers of a champion, in the bins that the judge of a release compares. */
export interface RecordedAnswers {
  names: readonly string[]
  counts: readonly number[]
  /** For a number: its percentiles from 0 to 100, and the upper edges of all bins except the last. */
  scores?: readonly number[]
  edges?: readonly number[]
  /** Of several numbers a row all but the first. */
  others?: readonly RecordedAnswers[]
}

/** How many numbers an answer has. */
export const recordedNumbers = (answers: RecordedAnswers | undefined): number =>
  1 + (answers?.others?.length ?? 0)

/** How often the champion gives each of the other numbers; the candidate gives them as often. */
export const otherShares = (answers: RecordedAnswers | undefined): number[][] =>
  (answers?.others ?? []).map((each) => recordedShares(each) ?? numberShares(each, 1))

/** The matured outcomes of a champion. */
export interface RecordedLabels {
  /** The age at which an outcome is due, and the length of the window of outcomes. */
  delayMs: number
  windowMs: number
  /** Of the newest window: the predictions, those with an outcome, and those that were right; absent for a number. */
  predictions: number
  known: number
  right?: number
}

/** How often the champion gives each answer, and the candidate under a shift or with numbers scaled by a factor. */
export function answerShares(
  { answers, positiveShare }: { answers?: RecordedAnswers; positiveShare: number },
  { shift = 0, factor }: { shift?: number; factor?: number },
): { champion: number[]; canary: number[] } {
  if (factor !== undefined) {
    const champion = numberShares(answers, 1)
    return { champion, canary: numberShares(answers, factor) }
  }
  const champion = recordedShares(answers) ?? [1 - positiveShare, positiveShare]
  const last = champion.at(-1)!
  const shifted = Math.min(1, last * (1 + shift))
  const others = last < 1 ? (1 - shifted) / (1 - last) : 0
  return {
    champion,
    canary: champion.map((share, i) => (i === champion.length - 1 ? shifted : share * others)),
  }
}

function recordedShares(answers: RecordedAnswers | undefined): number[] | undefined {
  const total = sumOf(answers?.counts ?? [])
  return total === 0 ? undefined : answers!.counts.map((count) => count / total)
}

/** The standard deviation of the log of a number when none is recorded. */
const logNumberSpread = 1

/** The shares of a number in the ranges between the champion's 10th, 50th and 90th percentile. */
function numberShares(answers: RecordedAnswers | undefined, factor: number): number[] {
  const { scores, edges } = answers ?? {}
  const below =
    scores === undefined || edges === undefined
      ? [0.1, 0.5, 0.9].map(
          (q) => normalCdf((normalQuantile(q) ?? 0) - Math.log(factor) / logNumberSpread) ?? 0,
        )
      : edges.map((edge) => scores.filter((score) => score * factor < edge).length / scores.length)
  return [...below, 1].map((share, i) => share - (below[i - 1] ?? 0))
}

/** How long outcomes take plus the length of their window; a probation that covers labels lasts as long. */
export const labelTimeOf = (labels: RecordedLabels | undefined): number | undefined =>
  labels && labels.delayMs + labels.windowMs

const usualRightShare = 0.9

/** How often the champion is right; nine times in ten when no outcome is recorded. */
export const rightShare = ({ right, known }: Partial<RecordedLabels> = {}): number =>
  right === undefined || !known ? usualRightShare : right / known

/** The share of predictions whose outcome becomes known; 0 where too few do for a judgement. */
export function outcomeShare({ predictions = 1, known = 1 }: Partial<RecordedLabels> = {}): number {
  const covered = predictions > 0 ? known / predictions : 0
  return covered >= defaultLabelPolicy.minCoverage ? covered : 0
}

/** Pairs that the champion alone predicted correctly, the candidate alone, and both or neither. */
export interface SimulatedPairs {
  b: number
  c: number
  same: number
}

/** Counts pairs as the judge counts those of real releases: from the age at which outcomes are due, when enough of them arrive. */
export function maturingPairs(labels: RecordedLabels | undefined): {
  /** The share of pairs whose outcome becomes known. */
  coverage: number
  add(atMs: number, pairs: SimulatedPairs): void
  known(nowMs: number): SimulatedPairs
} {
  const known = { b: 0, c: 0, same: 0 }
  const young: (SimulatedPairs & { atMs: number })[] = []
  const { delayMs = 0 } = labels ?? {}
  const coverage = outcomeShare(labels)
  let at = 0
  return {
    coverage,
    add: (atMs, pairs) => void young.push({ atMs, ...pairs }),
    known(nowMs) {
      for (; at < young.length && young[at]!.atMs + delayMs <= nowMs; at++) {
        known.b += young[at]!.b
        known.c += young[at]!.c
        known.same += young[at]!.same
      }
      return { ...known }
    },
  }
}
