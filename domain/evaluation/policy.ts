/**
 * Defines the requirements of the offline gate: floors, margins and limits that the model file declares before any result is known.
 */
export type Task = 'binary' | 'multiclass' | 'regression'

export type GateMetric =
  'auc' | 'accuracy' | 'brier' | 'logLoss' | 'f1' | 'averagePrecision' | 'macroF1' | 'rmse' | 'mae' | 'r2'

/** The metrics that slices can be compared by: those with a test for their difference. */
export type SliceMetric = 'accuracy' | 'auc' | 'brier' | 'logLoss' | 'rmse' | 'mae'

/** How much worse a "not worse" challenger may be: absolute, or relative to the champion's value. */
export type Margin = number | { relative: number }

export interface GatePolicy {
  /** The kind of the prediction, which follows from the label. */
  task: Task
  /** The metric that decides. */
  primary: GateMetric
  /** Guardrail metrics: each must be not worse, by its margin. */
  guards: GateMetric[]
  /** Limits that every version must meet; the only gate of the first version besides the baseline. */
  floors: Partial<Record<GateMetric, number>>
  /** The margin of "not worse" for each metric. */
  margins: Partial<Record<GateMetric, Margin>>
  /** The level of the two-sided interval; `not_worse` uses the one-sided bound of the same level. */
  confidence: number
  /** The resamples of a bootstrap interval. */
  resamples: number
  /** The seed of the resamples, so that the same rows give the same interval. */
  seed: number
  /** The probability from which the positive class is predicted. */
  threshold: number
  /** The minimum test rows of a verdict. */
  evidence: {
    /** All test rows. */
    rows: number
    /** Rows of the positive class. */
    positives: number
    /** Rows of the negative class. */
    negatives: number
    /** Rows of a slice; smaller slices are reported, but not judged. */
    sliceRows: number
    /** Positive rows of a slice. */
    slicePositives: number
  }
  /** The limits of slices. */
  slices: {
    /** The metric that compares slices. */
    metric: SliceMetric
    /** The loss of a slice that blocks, relative to the champion for metrics where lower is better … */
    points: number
    /** … when it is certain at this level after Holm's correction. */
    alpha: number
  }
  /** The limits of calibration; `'off'` where the output is not a probability. */
  calibration:
    | {
        /** The maximum expected calibration error … */
        ece: number
        /** … and its maximum above the champion's; both must be exceeded to block. */
        overChampion: number
      }
    | 'off'
  /** The limits of group fairness. */
  fairness: {
    /** The minimum ratio of the selection rates of two groups. */
    selectionRatio: number
    /** The maximum difference of true-positive and of false-positive rates. */
    rateDifference: number
    /** The minimum rows of a group; smaller groups are reported, but not judged. */
    minRows: number
  }
  /** The limits of leakage. */
  leakage: {
    /** The maximum share of test rows, or entities, that were also trained on, 0..1. */
    overlap: number
    /** The maximum AUC of a single feature. */
    featureAuc: number
    /** The gain in AUC over the champion above which a user must check for a leak. */
    gain: number
  }
  /** The number of decisions on one test set that warns. */
  testSetUses: number
}

export function defaultGatePolicy(task: Task): GatePolicy {
  const primary = { binary: 'auc', multiclass: 'accuracy', regression: 'rmse' } as const
  return {
    task,
    primary: primary[task],
    guards: [],
    floors: {},
    margins: {
      auc: 0.005,
      accuracy: 0.01,
      f1: 0.01,
      macroF1: 0.01,
      averagePrecision: 0.01,
      brier: { relative: 0.01 },
      logLoss: { relative: 0.01 },
      rmse: { relative: 0.01 },
      mae: { relative: 0.01 },
      r2: 0.01,
    },
    confidence: 0.95,
    resamples: 2000,
    seed: 1,
    threshold: 0.5,
    evidence: { rows: 1000, positives: 100, negatives: 100, sliceRows: 200, slicePositives: 30 },
    slices: { metric: task === 'regression' ? 'rmse' : 'accuracy', points: 0.02, alpha: 0.05 },
    calibration: task === 'regression' ? 'off' : { ece: 0.05, overChampion: 0.02 },
    fairness: { selectionRatio: 0.8, rateDifference: 0.1, minRows: 100 },
    leakage: { overlap: 0.001, featureAuc: 0.99, gain: 0.1 },
    testSetUses: 20,
  }
}
