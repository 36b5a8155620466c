/**
 * Decides when a champion past its probation is rolled back to the previous version for its answers: matured quality in alarm, or answers that
 * have become one, in two consecutive windows, and a previous version that is better on the same rows. A compressed champion returns to its
 * parent once its answers are proven to differ (`parent-drift.ts`). Failing responses are judged at the tick (`champion-watch.ts`).
 */
import { fourDigits, groupedDigits, percentText } from '../figures.ts'
import { lossText, type JudgedLoss } from '../tasks/losses.ts'
import { drawsOf, meanAboveEvidence, meanOf, type ValueCounts } from '@tenure/sequential'

/** The probability that a previous version that is no better seems better on the rows of a window. */
const comparisonAlpha = 1e-4
/** Consecutive windows with quality in alarm, or with collapsed answers. */
const windowsInARow = 2
/** An answer has collapsed when one value has this share, and had at most `usualShare` in training. */
const collapsedShare = 0.99
const usualShare = 0.5

/** After such a rollback, the next one of the model waits for this time. */
export const rollbackCooldownMs = 86_400_000

/** The state that a window leaves for the next one. */
export interface DecayState {
  version: string
  /** The number of consecutive windows in which quality was in alarm. */
  qualityWindows: number
  /**
   * The number of consecutive windows in which nearly all answers were equal, for each number of an answer; `''` for an answer without
   * names.
   */
  collapsed: Readonly<Record<string, number>>
}

/** The most frequent answer of a window, in the bins of the training. */
export interface TopAnswer {
  /** The name of the number, when an answer has several. */
  number?: string
  answers: number
  /** The share of the answer, now and in training. */
  share: number
  reference: number
}

export interface DecayFacts {
  version: string
  /** Why a compressed champion differs from its parent, to which a rollback would return; absent without proof. */
  parentAlarm?: string
  /** Why the matured quality is in alarm; null when it is not, undefined when it is not measured. */
  qualityAlarm: string | null | undefined
  /** One per number of an answer; empty when answers are not counted. */
  tops: readonly TopAnswer[]
}

export interface DecayFinding extends Pick<TopAnswer, 'number'> {
  matter: 'parent' | 'quality' | 'collapse'
  message: string
}

export function judgeDecay(
  { version, parentAlarm, qualityAlarm, tops }: DecayFacts,
  before: DecayState | undefined,
  { minRequests }: { minRequests: number },
): { state: DecayState; finding: DecayFinding | undefined } {
  const last = before?.version === version ? before : undefined
  const state: DecayState = {
    version,
    qualityWindows: last?.qualityWindows ?? 0,
    collapsed: last?.collapsed ?? {},
  }
  const counted = tops.filter(({ answers }) => answers >= minRequests)
  state.collapsed = {
    ...state.collapsed,
    ...Object.fromEntries(
      counted.map((top) => [nameOf(top), isCollapsed(top) ? windowsOf(state, top) + 1 : 0]),
    ),
  }
  if (qualityAlarm !== undefined) state.qualityWindows = qualityAlarm === null ? 0 : state.qualityWindows + 1
  if (parentAlarm !== undefined) return { state, finding: { matter: 'parent', message: parentAlarm } }
  if (typeof qualityAlarm === 'string' && state.qualityWindows >= windowsInARow)
    return { state, finding: { matter: 'quality', message: qualityAlarm } }
  const worst = counted.find((top) => windowsOf(state, top) >= windowsInARow)
  if (worst !== undefined) {
    const { share, answers, reference, number } = worst
    const message = `one answer${number === undefined ? '' : ` of ${number}`} went to ${percentText(share)} of ${groupedDigits(answers)} requests, ${percentText(reference)} in training`
    return { state, finding: { matter: 'collapse', message, ...(number !== undefined && { number }) } }
  }
  return { state, finding: undefined }
}

const nameOf = ({ number = '' }: TopAnswer): string => number

/** 0 for a number that was not counted before, also for one named as what objects inherit. */
const windowsOf = ({ collapsed }: Pick<DecayState, 'collapsed'>, top: TopAnswer): number =>
  Object.hasOwn(collapsed, nameOf(top)) ? collapsed[nameOf(top)]! : 0

const isCollapsed = ({ share, reference }: TopAnswer): boolean =>
  share >= collapsedShare && reference <= usualShare

/** Whether a version still gives different answers to requests on which the champion's answers have collapsed. */
export const keepsApart = ({ share }: Pick<TopAnswer, 'share'>): boolean =>
  share < (collapsedShare + usualShare) / 2

export interface ReturnReport {
  rows: number
  /** How much more the champion loses, in units of the loss; null without rows. */
  delta: number | null
  logE: number
  isBetter: boolean
  message: string
}

/**
 * Compares the losses of the champion and the previous version on the same rows. `counts[i]` rows have the difference (champion −
 * previous) −1 + 2i/(length − 1). H0: the champion does not lose more.
 */
export function judgeReturn(
  differences: ValueCounts,
  { to, judged }: { to: string; judged: JudgedLoss },
): ReturnReport {
  const rows = Math.round(drawsOf(differences))
  const mean = meanOf(differences)
  const logE = meanAboveEvidence(differences, 0.5) ?? 0
  const threshold = Math.log(1 / comparisonAlpha)
  const isBetter = logE >= threshold
  const delta = mean === null ? null : 2 * mean - 1
  const message = `${to} loses ${isBetter ? '' : 'not provably '}less on the same ${rows} rows (${lossText(judged)}): by ${delta === null ? 'nothing known' : fourDigits(delta)}, logE ${fourDigits(logE)}, needed ${fourDigits(threshold)}`
  return { rows, delta, logE, isBetter, message }
}
