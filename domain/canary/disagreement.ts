/**
 * Judges how often two versions answer the same request differently, without outcomes: the mean distance with its confidence sequence,
 * the direction of changed decisions, and the slices with the largest differences.
 */
import { fourDigits, percentText } from '../figures.ts'
import {
  drawsOf,
  eBenjaminiHochberg,
  logMeanExp,
  meanAboveEvidence,
  meanInterval,
  meanOf,
  pairedEvidence,
  thresholdFor,
  type ValueCounts,
} from '@tenure/sequential'
import { expectedDistance, type PredictedAnswers } from './predicted-answers.ts'
import { disagreementCode, type Reason, type Verdict } from '../verdict.ts'

export interface DisagreementPolicy {
  /**
   * The largest mean distance (0..1) that has no effect. A question needs a larger distance than the gate has seen on its test rows as well. For decisions: the share of changed decisions. For numbers: the distance in units
   * of the champion's range between the 10th and the 90th percentile in training, at most 1.
   */
  max: number
  /** What a larger distance, overall or in a slice, does: holds the stage until an approver decides, or rolls back. */
  action: 'ask' | 'rollback'
}

export const defaultDisagreement: DisagreementPolicy = { max: 0.2, action: 'ask' }

/** Distances between numbers are counted in steps of 1/50, in a shadow and in the gate: rounded otherwise, a constant distance would lie above its own. */
export const distanceSteps = 50

/** The pairs of all requests or of one slice. A routing key counts once. */
export interface DisagreementPart {
  name: string
  distances: ValueCounts
}

export interface DisagreementEvidence {
  /** `decisions`: each distance is 0 or 1. `distance`: the distance between numbers. */
  measure: 'decisions' | 'distance'
  all: DisagreementPart
  slices: readonly DisagreementPart[]
  /** The changed decisions by their labels, such as `late` and `not late`, the most frequent first. */
  changes: readonly { from: string; to: string; count: number }[]
}

export interface DisagreementRow {
  name: string
  pairs: number
  mean: number | null
  /** The bounds of the confidence sequence at 95 %, valid at every look. */
  low: number
  high: number
  /** `max`, or the distance that the gate has seen with twice its standard deviation, where that is larger and the policy asks. */
  limit: number
  /** The evidence that the mean distance is above the limit. */
  logE: number
  /** Whether the evidence is sufficient at the α of the release. */
  above: boolean
}

export interface DisagreementReport {
  measure: DisagreementEvidence['measure']
  max: number
  /** What a mean distance above the limit does. */
  action: DisagreementPolicy['action']
  all: DisagreementRow
  /** The evidence at which all requests together are above the limit. Half of the α; the slices share the other half. */
  threshold: number
  /** The worst slices first. */
  slices: DisagreementRow[]
  changes: DisagreementEvidence['changes'][number][]
  /** The evidence that changes go in one direction more often than in the other; null for more than two decisions. */
  directionLogE: number | null
}

export function reportDisagreement(
  { measure, all, slices, changes }: DisagreementEvidence,
  { max, action }: DisagreementPolicy,
  alpha: number,
  predicted?: PredictedAnswers,
): DisagreementReport {
  const row = ({ name, distances }: DisagreementPart): DisagreementRow => {
    const limit = action === 'ask' ? Math.max(max, expectedDistance(predicted, name)) : max
    return {
      name,
      pairs: drawsOf(distances),
      mean: meanOf(distances),
      ...meanInterval(distances, 0.05),
      limit,
      logE: meanAboveEvidence(distances, limit) ?? 0,
      above: false,
    }
  }
  const rows = slices.map(row)
  const above = eBenjaminiHochberg(
    rows.map(({ logE }) => logE),
    alpha / 2,
  )
  const whole = row(all)
  const threshold = thresholdFor(alpha / 2)
  return {
    measure,
    max,
    action,
    all: { ...whole, above: whole.logE >= threshold },
    threshold,
    slices: rows
      .map((each, place) => ({ ...each, above: above[place]! }))
      .sort((a, b) => b.low - a.low || (b.mean ?? 0) - (a.mean ?? 0)),
    changes: [...changes].sort((a, b) => b.count - a.count),
    directionLogE: directionOf(changes),
  }
}

/** The paired test with r = 1 in both directions; the mean of two e-values is an e-value. */
function directionOf(changes: DisagreementEvidence['changes']): number | null {
  const [one, other] = changes
  if (changes.length > 2 || one === undefined) return null
  if (other !== undefined && (other.from !== one.to || other.to !== one.from)) return null
  const [a, b] = [one.count, other?.count ?? 0]
  return logMeanExp([pairedEvidence(a, b) ?? 0, pairedEvidence(b, a) ?? 0])
}

/** The reason to ask an approver or to roll back; null while the distance may be within the limit. */
export function disagreementReason(report: DisagreementReport): Reason | null {
  const { all, slices, measure, changes } = report
  const parts = [...(all.above ? [all] : []), ...slices.filter(({ above }) => above)]
  const [first] = parts
  if (first === undefined) return null
  const noun = measure === 'decisions' ? 'other decisions' : 'mean distance'
  const shown = parts.map(
    ({ name, mean, low, pairs, logE }) =>
      `${name}: ${noun} ${percentText(mean)} of ${pairs} users (at least ${percentText(low)}), logE ${fourDigits(logE)}`,
  )
  const [most] = changes
  const mostCommon = most === undefined ? '' : `; most often ${most.from} → ${most.to}`
  const message = `answers differ from the champion's by more than ${percentText(first.limit)}: ${shown.join('; ')}${mostCommon}`
  const values: Reason['values'] = {
    part: first.name,
    max: first.limit,
    mean: first.mean,
    low: first.low,
    logE: first.logE,
  }
  return { code: disagreementCode, message, values: { ...values, parts: parts.length, pairs: first.pairs } }
}

/** Judges the evidence of a stage, and adds its figures to the statistics. */
export function judgeDisagreement(
  { disagreement, predicted }: { disagreement?: DisagreementEvidence; predicted?: PredictedAnswers },
  {
    disagreement: limits,
    alpha,
  }: { disagreement: DisagreementPolicy | 'off'; alpha: { disagreement: number } },
  statistics: Verdict['statistics'],
): Reason | null {
  if (disagreement === undefined || limits === 'off') return null
  const report = reportDisagreement(disagreement, limits, alpha.disagreement, predicted)
  statistics['disagreement'] = report.all.mean
  statistics['disagreementLow'] = report.all.low
  statistics['disagreementHigh'] = report.all.high
  statistics['disagreementLogE'] = report.all.logE
  statistics['disagreementThreshold'] = report.threshold
  return disagreementReason(report)
}
