/**
 * What the offline gate asks of a challenger before it may meet real traffic. It is data of the model file: the
 * floors, margins and limits a team has agreed on before it saw the result.
 */

export type Task = 'binary' | 'multiclass' | 'regression'

export type GateMetric =
  'auc' | 'accuracy' | 'brier' | 'logLoss' | 'f1' | 'averagePrecision' | 'macroF1' | 'rmse' | 'mae' | 'r2'

/** The metrics a slice can be compared by: those whose difference has a test of its own. */
export type SliceMetric = 'accuracy' | 'auc' | 'brier' | 'logLoss' | 'rmse' | 'mae'

/** How much worse a challenger may be and still be "not worse": absolute, or relative to the champion's value. */
export type Margin = number | { relative: number }

export interface GatePolicy {
  /** What kind of answer is judged; it follows from the label. */
  task: Task
  /** The metric the verdict is about. */
  primary: GateMetric
  /** Metrics that must be not worse as well, each by its margin. */
  guards: GateMetric[]
  /** Limits every version must meet, champion or not; the only gate of a model's first version. */
  floors: Partial<Record<GateMetric, number>>
  /** How much worse each metric may be and still be not worse. */
  margins: Partial<Record<GateMetric, Margin>>
  /** The level of the two-sided interval; `not_worse` uses the one-sided bound of the same level. */
  confidence: number
  /** How many resamples a bootstrap interval rests on. */
  resamples: number
  /** Of the resamples: the same rows give the same interval. */
  seed: number
  /** Predict the positive class from this probability on. */
  threshold: number
  /** Fewer test rows than these decide nothing. */
  evidence: {
    /** Test rows in all. */
    rows: number
    /** Of the positive class, or of each class. */
    positives: number
    /** Of the negative class. */
    negatives: number
    /** Rows of a slice; smaller ones are reported, never judged. */
    sliceRows: number
    /** Positive rows of a slice. */
    slicePositives: number
  }
  /** When a declared part of the rows has become worse. */
  slices: {
    /** The metric that slices are compared by. */
    metric: SliceMetric
    /** Block when a slice lost more than this, relative to the champion for metrics where lower is better … */
    points: number
    /** … and the loss is certain at this level after Holm's correction. */
    alpha: number
  }
  /** `'off'` where the output is no probability. */
  calibration:
    | {
        /** The largest expected calibration error … */
        ece: number
        /** … and how far it may lie above the champion's. Both must be crossed. */
        overChampion: number
      }
    | 'off'
  /** When groups are treated differently. */
  fairness: {
    /** The least ratio of selection rates between two groups. */
    selectionRatio: number
    /** The largest difference of true-positive and of false-positive rates. */
    rateDifference: number
    /** Smaller groups are reported, never judged. */
    minRows: number
  }
  /** When the test rows tell what they should ask. */
  leakage: {
    /** The largest share of test rows, or entities, that were also trained on. */
    overlap: number
    /** A single feature that separates the classes better than this knows the label. */
    featureAuc: number
    /** A gain in AUC over the champion above this is too good to be true. */
    gain: number
  }
  /** Warn when a test set has decided this often. */
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
