/**
 * Defines the requirements of the offline gate: floors, margins and limits that the model file declares before any result is known.
 */
import type { Output, TaskName } from '../tasks/output.ts'
import { policyIssues } from '../policy-issues.ts'
import { defaultTop, metricScales, type GateMetric, type SliceMetric, rangeOf } from './gate-metrics.ts'
import { gateOf, taskOf } from '../tasks/tasks.ts'

/** How much worse a "not worse" challenger may be: absolute, or relative to the champion's value. */
export type Margin = number | { relative: number }

/** A metric that a function of the model file computes. */
export interface CustomMetricPolicy {
  /** The direction in which the metric improves. */
  better: 'higher' | 'lower'
  /** Whether the challenger must be not worse than the champion in this metric. */
  guard?: boolean
  /** The value that every version must reach. */
  floor?: number
  /** The margin of "not worse". Default: 1 % of the champion's value. */
  margin?: Margin
}

export interface GatePolicy {
  /** The kind of the prediction, which follows from the label. */
  task: TaskName
  /** The metric that decides: one of the task, or of `custom`. */
  primary: string
  /**
   * The metric of the task that stands in for a custom primary metric where no function of the model file runs: in windows of the monitor,
   * in the importance of features and in slices. Absent where the primary metric is one of the task.
   */
  standIn?: GateMetric
  /** Guardrail metrics: each must be not worse, by its margin. */
  guards: GateMetric[]
  /** Limits that every version must meet; the only gate of the first version besides the baseline. */
  floors: Partial<Record<GateMetric, number>>
  /** The margin of "not worse" for each metric. */
  margins: Partial<Record<GateMetric, Margin>>
  /** The metrics that the model file computes, by name. */
  custom?: Record<string, CustomMetricPolicy>
  /** The level of the two-sided interval; `not_worse` uses the one-sided bound of the same level. */
  confidence: number
  /** The resamples of a bootstrap interval. */
  resamples: number
  /** The seed of the resamples, so that the same rows give the same interval. */
  seed: number
  /** The probability from which the positive class is predicted. */
  threshold: number
  /** The share of the rows with the highest probabilities in which `recallAtTop` and `precisionAtTop` look. */
  top: number
  /** The levels of quantiles; only for that task. */
  levels?: readonly number[]
  /** The names of the numbers of a row; only for the task `multioutput`. */
  targets?: readonly string[]
  /** The limits of a number that the label sets; an answer outside is refused. */
  range?: {
    /** The least number. */
    min?: number
    /** The largest number. */
    max?: number
  }
  /** The minimum test rows of a verdict. */
  evidence: {
    /** All test rows. */
    rows: number
    /** Rows of the positive class. */
    positives: number
    /** Rows of the negative class. */
    negatives: number
    /** Rows of a slice. A smaller slice is stopped by certain harm, and is otherwise named as not judged. */
    sliceRows: number
    /** Positive rows of a slice, likewise. */
    slicePositives: number
  }
  /** The limits of slices. */
  slices: {
    /** The metric that compares slices. */
    metric: SliceMetric
    /** The loss that a slice may have, relative to the champion for metrics where lower is better. A larger one blocks … */
    points: number
    /** … when "the loss is at most the limit" is rejected at this level after Holm's correction. */
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
    /** The minimum ratio of the selection rates of two groups; for classes, of the rates at which each is predicted. */
    selectionRatio: number
    /**
     * The maximum difference of true-positive and of false-positive rates; for classes, of the accuracy and of the recall of each; for
     * quantiles, of the coverage.
     */
    rateDifference: number
    /**
     * The maximum difference of the mean error and of the mean absolute error of a number, and of the pinball loss of quantiles, in standard
     * deviations of the label.
     */
    errorDifference: number
    /** The minimum rows of a group; smaller groups are reported, but not judged. A larger one may have too few rows too, and is named then. */
    minRows: number
  }
  /** The limits of leakage. */
  leakage: {
    /** The maximum share of test rows, or entities, that were also trained on, 0..1. */
    overlap: number
    /** The maximum AUC of a single feature; for classes, of the pair of classes that it separates worst. */
    featureAuc: number
    /** The maximum rank correlation of a single feature with a label that is a number. */
    featureCorrelation: number
    /** The gain in AUC over the champion above which a user must check for a leak. */
    gain: number
  }
  /** The number of decisions on one test set that warns. */
  testSetUses: number
}

/** Whether a function of the model file computes the primary metric. */
export const hasCustomPrimary = ({ primary, custom = {} }: Pick<GatePolicy, 'primary' | 'custom'>): boolean =>
  Object.hasOwn(custom, primary)

/** Whether a higher value of the primary metric is better. */
export const primaryIsHigher = ({ primary, custom = {} }: Pick<GatePolicy, 'primary' | 'custom'>): boolean =>
  (custom[primary] ?? metricScales[primary as GateMetric]).better === 'higher'

/** The primary metric, or what stands in for a custom one: what is measured where no function of the model file runs. */
export const builtInPrimary = ({
  primary,
  standIn = primary as GateMetric,
}: Pick<GatePolicy, 'primary' | 'standIn'>): GateMetric => standIn

/** The policy with the numbers and the threshold of a version. The model file may have been changed since that version was trained. */
export function policyForOutput(policy: GatePolicy, output: Output): GatePolicy {
  const { gate, facts } = taskOf(output)
  return policy.task === gate.name ? { ...policy, ...facts(output) } : policy
}

export function defaultGatePolicy(task: TaskName): GatePolicy {
  const { primary, classes } = gateOf(task)
  return {
    task,
    primary,
    guards: [],
    floors: {},
    margins: {
      auc: 0.005,
      accuracy: 0.01,
      // These are near the share of positives, so an absolute margin would accept the loss of half of them where positives are rare.
      f1: { relative: 0.02 },
      precision: { relative: 0.02 },
      averagePrecision: { relative: 0.02 },
      recallAtTop: { relative: 0.02 },
      precisionAtTop: { relative: 0.02 },
      recall: 0.01,
      macroF1: 0.01,
      brier: { relative: 0.01 },
      logLoss: { relative: 0.01 },
      rmse: { relative: 0.01 },
      mae: { relative: 0.01 },
      r2: 0.01,
      pinball: { relative: 0.01 },
      coverageError: 0.02,
    } satisfies Record<GateMetric, Margin>,
    confidence: 0.95,
    resamples: 2000,
    seed: 1,
    threshold: 0.5,
    top: defaultTop,
    evidence: { rows: 1000, positives: 100, negatives: 100, sliceRows: 200, slicePositives: 30 },
    slices: { metric: sliceMetricFor(task, primary), points: 0.02, alpha: 0.05 },
    calibration: classes(2) > 0 ? { ece: 0.05, overChampion: 0.02 } : 'off',
    fairness: { selectionRatio: 0.8, rateDifference: 0.1, errorDifference: 0.1, minRows: 100 },
    leakage: { overlap: 0.001, featureAuc: 0.99, featureCorrelation: 0.99, gain: 0.1 },
    testSetUses: 20,
  }
}

/** The minimum number of resamples in the tail of a corrected interval. */
const minTailResamples = 20
const maxResamples = 20_000

/**
 * The policy for one of several challengers judged on the same test rows, which is wrongly accepted with probability at most α / tried. Of those
 * judged at once, any is with probability at most α (Bonferroni); of k judged one after the other, the first at the whole α, with at most
 * α(1 + 1/2 + … + 1/k).
 */
export function correctedFor<Policy extends Pick<GatePolicy, 'confidence' | 'resamples'>>(
  tried: number,
  policy: Policy,
): Policy {
  if (tried <= 1) return policy
  const tail = (1 - policy.confidence) / tried
  const resamples = Math.min(maxResamples, Math.max(policy.resamples, Math.ceil(minTailResamples / tail)))
  return { ...policy, confidence: 1 - tail, resamples }
}

/** The metric that compares slices by default: the primary metric where it can. */
export const sliceMetricFor = (task: TaskName, primary: GateMetric): SliceMetric =>
  gateOf(task).sliceMetrics.find((metric) => metric === primary) ?? gateOf(task).sliceMetrics[0]!

/** Why a floor can never be met, can never fail, or is not a number; undefined for a valid floor. */
function floorIssue(metric: string, floor: number): string | undefined {
  if (typeof floor !== 'number' || !Number.isFinite(floor)) return `a finite number is required, not ${floor}`
  const range = rangeOf(metric)
  if (range === 'share' && !(floor >= 0 && floor <= 1))
    return `${metric} is a number from 0 to 1, not ${floor}`
  if (range === 'explained' && floor > 1) return `${metric} is at most 1, not ${floor}`
  if (range === 'loss' && floor <= 0)
    return `${metric} is the highest allowed value and above 0, not ${floor}`
  return undefined
}

/** Why a margin makes no sense; undefined for a valid one. */
export function marginIssue(metric: string, margin: Margin): string | undefined {
  const isRelative = typeof margin === 'object' && margin !== null
  const value = isRelative ? margin.relative : margin
  const isUnbounded = !isRelative && (rangeOf(metric) ?? 'loss') === 'loss' && metric !== 'brier'
  const below = isUnbounded ? Infinity : 1
  if (typeof value === 'number' && value >= 0 && value < below) return undefined
  const required = below === 1 ? 'a number from 0 to below 1' : 'a finite number of at least 0'
  const written = isRelative ? `{ relative: ${String(value)} }` : String(margin)
  return `how much worse "not worse" may be in ${metric} is ${required}, not ${written}`
}

/** The issues of a gate policy, each beginning with its field; empty when it is valid. */
export function issuesOfGate(policy: GatePolicy): string[] {
  const { issues, need, integer, oneOf } = policyIssues()
  const share = (field: string, value: number, min = 0) =>
    need(
      typeof value === 'number' && value >= min && value <= 1,
      `${field}: a number from ${min} to 1 is required, not ${value}`,
    )
  for (const [metric, floor] of Object.entries(policy.floors)) {
    const issue = floorIssue(metric, floor)
    if (issue !== undefined) issues.push(`floors.${metric}: ${issue}`)
  }
  for (const [metric, margin] of Object.entries(policy.margins)) {
    const issue = marginIssue(metric, margin)
    if (issue !== undefined) issues.push(`margins.${metric}: ${issue}`)
  }
  need(
    policy.top > 0 && policy.top <= 1,
    `top: a number above 0 and at most 1 is required, not ${policy.top}`,
  )
  for (const [name, value] of Object.entries(policy.evidence)) integer(`evidence.${name}:`, value, 0)
  const { slices, calibration, fairness, leakage } = policy
  oneOf('sliceLimits.metric:', slices.metric, gateOf(policy.task).sliceMetrics)
  share('sliceLimits.points', slices.points)
  share('sliceLimits.alpha', slices.alpha)
  if (calibration !== 'off') {
    share('calibration.ece', calibration.ece)
    share('calibration.overChampion', calibration.overChampion)
  }
  share('fairness.selectionRatio', fairness.selectionRatio)
  share('fairness.rateDifference', fairness.rateDifference)
  need(
    typeof fairness.errorDifference === 'number' &&
      fairness.errorDifference >= 0 &&
      Number.isFinite(fairness.errorDifference),
    `fairness.errorDifference: a finite number of at least 0 is required, not ${fairness.errorDifference}`,
  )
  integer('fairness.minRows:', fairness.minRows, 1)
  share('leakage.overlap', leakage.overlap)
  share('leakage.featureAuc', leakage.featureAuc, 0.5)
  share('leakage.featureCorrelation', leakage.featureCorrelation)
  share('leakage.gain', leakage.gain)
  return issues
}
