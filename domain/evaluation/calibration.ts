/**
 * Judges calibration in the gate: blocks a challenger whose 90 % predictions come true 70 % of the time, even when it ranks better,
 * because decisions use the probability.
 */
import { type Calibration, calibration, crossFittedGaps, ownersOf, seededRandom } from '@tenure/sequential'
import { repeatedKeys } from '../statistics/certainty.ts'
import { rowLosses } from './metrics.ts'
import type { GatePolicy } from './policy.ts'
import { correctness, type ScoredRows } from './scored-rows.ts'
import { gateOf } from '../tasks/tasks.ts'

export interface CalibrationFigures {
  brier: number | null
  ece: number | null
  mce: number | null
}

export interface GateCalibration {
  champion: CalibrationFigures | null
  challenger: CalibrationFigures
  verdict: 'ok' | 'blocked' | 'undefined'
}

/** Null for regressions, and when the policy turns calibration off. */
export function judgeCalibration(
  challenger: ScoredRows,
  champion: ScoredRows | null,
  policy: Pick<GatePolicy, 'calibration'>,
): GateCalibration | null {
  if (policy.calibration === 'off' || challenger.classes === 0) return null
  const now = figures(challenger)
  const before = champion === null ? null : figures(champion)
  if (now.ece === null) return { champion: before, challenger: now, verdict: 'undefined' }
  const { ece, overChampion } = policy.calibration
  const tooFar = now.ece > ece && (before?.ece == null || now.ece > before.ece + overChampion)
  return { champion: before, challenger: now, verdict: tooFar ? 'blocked' : 'ok' }
}

/** Binary: calibration of the probability of class 1. Multiclass: of the predicted class. */
export function calibrationOfScores(scored: ScoredRows): Calibration {
  const [y, p] = eventsOf(scored)
  return calibration(y, p)
}

/**
 * The gaps of the rows whose mean is the calibration error without chance. The rows of a routing key are in the same half, unless there are
 * so few keys that a half may be empty.
 */
export function calibrationGaps(
  scored: ScoredRows,
  { routingKeys, seed }: { routingKeys: readonly string[]; seed: number },
): Float64Array {
  const [y, p] = eventsOf(scored)
  const draw = seededRandom(seed)
  const halves = routingKeys.map(() => (draw() < 0.5 ? 0 : 1))
  const owners = repeatedKeys(routingKeys) && ownersOf(routingKeys)
  return crossFittedGaps(y, p, owners === undefined ? halves : Array.from(owners, (owner) => halves[owner]!))
}

const eventsOf = (scored: ScoredRows): [ArrayLike<number>, ArrayLike<number>] =>
  gateOf(scored.task).hasPositives ? [scored.y, scored.score] : [correctness(scored), scored.confidence]

function figures(scored: ScoredRows): CalibrationFigures {
  const { ece, mce } = calibrationOfScores(scored)
  const rows = scored.y.length
  const squares = rowLosses('brier', scored)!
  const brier = rows === 0 ? null : squares.reduce((sum, value) => sum + value, 0) / rows
  return { brier, ece, mce }
}
