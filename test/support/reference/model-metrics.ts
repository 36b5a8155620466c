/** Computes the metrics of the gate for worked cases. An undefined metric is null, and the status says why. */
import { score, statisticOf } from '../../../domain/evaluation/metrics.ts'
import type { ScoredRows } from '../../../domain/evaluation/scored-rows.ts'
import { calibration, pointValue } from '@tenure/sequential'
import { confusionAt } from '../../../domain/metrics/confusion.ts'
import type { GateMetric } from '../../../domain/evaluation/gate-metrics.ts'

const ratios = ['accuracy', 'precision', 'recall', 'f1'] as const
const ofProbabilities = ['brier', 'logLoss'] as const
const ofRanks = ['auc', 'averagePrecision'] as const
const errors = ['mae', 'rmse', 'r2'] as const

const nullsOf = <Name extends string>(names: readonly Name[]) =>
  Object.fromEntries(names.map((name) => [name, null])) as Record<Name, null>

const valuesOf = <Name extends GateMetric>(names: readonly Name[], scored: ScoredRows) =>
  Object.fromEntries(
    names.map((name) => [name, pointValue(statisticOf(name, scored), scored.y.length)]),
  ) as Record<Name, number | null>

/** `y`: 0 or 1, else the status is `invalid`. Predicts 1 from `threshold` on. */
export function binaryMetrics(y: readonly number[], p: readonly number[], threshold: number) {
  const rows = y.length
  const {
    truePositives: tp,
    falsePositives: fp,
    ...missed
  } = confusionAt({ observed: y, predicted: p }, threshold)
  const { falseNegatives: fn, trueNegatives: tn } = missed
  const counts = { tp, fp, fn, tn }
  const nothing = nullsOf([...ratios, 'mcc', ...ofProbabilities, ...ofRanks, 'ece10', 'mce10'])
  if (rows === 0) return { ...counts, ...nothing, status: 'no_data', rows }
  if (!y.every((label) => label === 0 || label === 1))
    return { tp: 0, fp: 0, fn: 0, tn: 0, ...nothing, status: 'invalid', rows }
  const probable = p.every((value) => value >= 0 && value <= 1)
  const scored = score(
    'binary',
    y,
    p.map((value) => [value]),
    { threshold },
  )
  const { ece, mce } = calibration(y, p)
  return {
    ...counts,
    status: !probable ? 'not_a_probability' : tp + fn === 0 || fp + tn === 0 ? 'one_class' : 'ok',
    rows,
    ...valuesOf(ratios, scored),
    mcc: matthews(counts),
    ...(probable ? valuesOf(ofProbabilities, scored) : nullsOf(ofProbabilities)),
    ...valuesOf(ofRanks, scored),
    ece10: ece,
    mce10: mce,
  }
}

function matthews({ tp, fp, fn, tn }: Record<'tp' | 'fp' | 'fn' | 'tn', number>): number | null {
  const product = Math.sqrt(tp + fp) * Math.sqrt(tp + fn) * Math.sqrt(tn + fp) * Math.sqrt(tn + fn)
  return product > 0 ? (tp * tn - fp * fn) / product : null
}

export function regressionMetrics(y: readonly number[], predicted: readonly number[]) {
  const rows = y.length
  if (rows === 0) return { status: 'no_data', rows, ...nullsOf(errors) }
  const scored = score(
    'regression',
    y,
    predicted.map((value) => [value]),
    { threshold: 0 },
  )
  const isConstant = y.every((value) => value === y[0])
  return { status: isConstant ? 'constant_target' : 'ok', rows, ...valuesOf(errors, scored) }
}
