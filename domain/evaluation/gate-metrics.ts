/** Lists the metrics of the offline gate, with the direction in which each improves and its range, and defines what fairness compares. */

export type GateMetric =
  | 'auc'
  | 'accuracy'
  | 'brier'
  | 'logLoss'
  | 'f1'
  | 'precision'
  | 'recall'
  | 'averagePrecision'
  | 'recallAtTop'
  | 'precisionAtTop'
  | 'macroF1'
  | 'rmse'
  | 'mae'
  | 'r2'
  | 'pinball'
  | 'coverageError'

/** The direction in which a metric improves, and its range. */
export interface MetricScale {
  better: 'higher' | 'lower'
  /** `share`: 0 to 1. `loss`: 0 or more. `explained`: 1 or less. */
  range: 'share' | 'loss' | 'explained'
  /** Only measured where the model file names it. */
  whenNamed?: true
}

/** The share of the rows that can be looked at, where the model file does not say. */
export const defaultTop = 0.01

/** The scale of every metric of the gate. */
export const metricScales: Readonly<Record<GateMetric, MetricScale>> = {
  auc: { better: 'higher', range: 'share' },
  accuracy: { better: 'higher', range: 'share' },
  brier: { better: 'lower', range: 'loss' },
  logLoss: { better: 'lower', range: 'loss' },
  f1: { better: 'higher', range: 'share' },
  precision: { better: 'higher', range: 'share' },
  recall: { better: 'higher', range: 'share' },
  averagePrecision: { better: 'higher', range: 'share' },
  recallAtTop: { better: 'higher', range: 'share', whenNamed: true },
  precisionAtTop: { better: 'higher', range: 'share', whenNamed: true },
  macroF1: { better: 'higher', range: 'share' },
  rmse: { better: 'lower', range: 'loss' },
  mae: { better: 'lower', range: 'loss' },
  r2: { better: 'higher', range: 'explained' },
  pinball: { better: 'lower', range: 'loss' },
  coverageError: { better: 'lower', range: 'share' },
}

/** Undefined for a name that is not a metric of the gate. */
export const rangeOf = (metric: string): MetricScale['range'] | undefined =>
  metricScales[metric as GateMetric]?.range

/** The metrics that can compare slices: those with a test for their difference. */
export type SliceMetric = 'accuracy' | 'auc' | 'brier' | 'logLoss' | 'rmse' | 'mae' | 'pinball'

/** The losses of a row by which stages judge outcomes: of the metrics that are averages over rows, and the cost of decisions. */
export type RowLoss = 'accuracy' | 'brier' | 'logLoss' | 'cost' | 'rmse' | 'mae' | 'pinball'

/** A limit of the policy, which judges rates (0 or 1 a row) or errors. */
export type FairnessLimit = 'selectionRatio' | 'rateDifference' | 'errorDifference'

/** A mean over the rows of a group, which is compared with those of other groups. */
export interface GroupMeasure {
  name: string
  limit: FairnessLimit
  /** Of a row. Rates: 0 or 1. Errors: in standard deviations of the label. */
  value: (row: number) => number
  /** Whether a row counts; absent where all do. */
  counts?: (row: number) => boolean
}
