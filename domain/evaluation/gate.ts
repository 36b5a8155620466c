/**
 * Judges a challenger offline against the champion on the same frozen rows, with intervals instead of point values. A lucky test set must
 * not replace a champion, and a better average must not hide a worse slice.
 */
import type { PredictedAnswers } from '../canary/predicted-answers.ts'
import type { BehaviourRow } from '../behaviour/behaviour-test.ts'
import { failedTestReasons, openTestReasons } from '../behaviour/judge-behaviour.ts'
import type { ImportanceReport } from '../explanation/importance.ts'
import { compressionFindings, type GateCompression } from './compression.ts'
import { compareCustom, customReasons, type MetricRows, type OwnMetrics } from './custom-metrics.ts'
import { answerWidth, type ModelAnswers, answeredRows, answerReader } from '../metrics/answers.ts'
import { classFigures, type ClassFigures } from '../metrics/class-figures.ts'
import { levelShares, type LevelShares } from '../metrics/level-shares.ts'
import { judgeCalibration, type GateCalibration } from './calibration.ts'
import { judgeFairness, type GateFairnessRow } from './fairness.ts'
import {
  countLabel,
  insufficientCounts,
  naiveAnswers,
  unreadableInput,
  type GateInput,
  type GateSearch,
} from './input.ts'
import { leakageReasons, suspectedLeakReasons, type LeakageFacts } from './leakage.ts'
import { rowsOfTruths, score, truthsOf } from './metrics.ts'
import { builtInPrimary, correctedFor, type GatePolicy } from './policy.ts'
import {
  calibrationReasons,
  fairnessReasons,
  floorReasons,
  heavyTailReasons,
  sharedFloorReasons,
  forReason,
  sliceReasons,
  implausiblyGood,
  numberReasons,
  repetitionReasons,
  shiftReasons,
  searchReasons,
  unjudgedSlices,
  unknownReasons,
  libraryReasons,
  splitReasons,
  useReasons,
  weightReasons,
} from './reasons.ts'
import { searchSlices, type SliceSearch } from './slice-search.ts'
import { judgeSlices, type GateSliceRow } from './slices.ts'
import { compareAll, type GateMetricRow } from './metric-table.ts'
import type { Reason } from '../verdict.ts'
import { auc, aucInterval, effectiveRows } from '@tenure/sequential'
import { pickInto } from '../statistics/pick-into.ts'
import { gateOf } from '../tasks/tasks.ts'

const gateJudge = 'gate@3'

/**
 * - `better`: the interval of the gain lies above 0; for a first version, over the baseline.
 * - `not_worse`: certainly not worse than the champion by more than the margin.
 * - `not_better`: worse, possibly worse, or blocked; the data scientist is notified.
 * - `insufficient`: too few rows.
 */
export type GateVerdict = 'better' | 'not_worse' | 'not_better' | 'insufficient'

export interface GateReport {
  verdict: GateVerdict
  /**
   * Whether a user must check the challenger, whatever the verdict: the gain is implausibly large, a floor is missed by the champion too, or
   * a behaviour test could not be computed.
   */
  needsPerson: boolean
  /** The reasons for the verdict, blocking ones first. */
  reasons: Reason[]
  /** Findings that do not decide. */
  warnings: Reason[]
  rows: number
  /** The column that weights the rows, and how many rows of equal weights show as much (Kish); absent without weights. */
  weights?: { column: string; effectiveRows: number }
  /** Null when the task has no positive class. */
  positives: number | null
  metrics: GateMetricRow[]
  /** Quantiles: the shares of labels below each level of the challenger, and at or below it; absent in others. */
  levels?: LevelShares[]
  /** Classes: the quality of each; absent in others. */
  classes?: ClassFigures[]
  slices: GateSliceRow[]
  /** The undeclared slices that a search found; absent without a champion, and where none was made. */
  sliceSearch?: SliceSearch
  calibration: GateCalibration | null
  fairness: GateFairnessRow[]
  /** The behaviour tests; absent without any. */
  tests?: BehaviourRow[]
  /** How both versions answer the test rows; absent without a champion that answers alike, and in few rows. */
  answers?: PredictedAnswers
  /** How much the challenger needs each feature; absent when not measured. */
  importance?: ImportanceReport
  /** Of a compressed version: whether it answers like its parent, and is worth it. */
  compression?: GateCompression
  /** With the confidence level that was used, corrected for other challengers on the same test rows. */
  policy: GatePolicy
  /** Absent when nothing else was tried. */
  search?: GateSearch
  judge: string
}

const emptyReport = (
  {
    y,
    numbers,
    testSetUses,
    championSplitDiffers,
    comparison,
    search,
    tests,
    unknownCategories,
    libraryWarnings,
    weights,
    compression,
  }: GateInput,
  policy: GatePolicy,
): GateReport => ({
  verdict: 'insufficient',
  needsPerson: false,
  reasons: [],
  warnings: [
    ...(comparison === undefined ? [] : [comparison]),
    ...numberReasons(numbers, policy),
    ...searchReasons(search, policy),
    ...useReasons(testSetUses, policy),
    ...splitReasons(championSplitDiffers),
    ...unknownReasons(unknownCategories),
    ...libraryReasons(libraryWarnings),
    ...weightReasons(weights),
  ],
  search,
  rows: rowsOfTruths(y, policy),
  weights: weights && { column: weights.column, effectiveRows: effectiveRows(weights.values) },
  positives: gateOf(policy.task).hasPositives ? countLabel(y, 1) : null,
  metrics: [],
  slices: [],
  calibration: null,
  fairness: [],
  tests: tests?.length === 0 ? undefined : tests,
  compression,
  policy,
  judge: gateJudge,
})

/** The policy with the level that is corrected for other challengers on the same rows. */
export const judgedPolicy = ({ search }: Pick<GateInput, 'search'>, declared: GatePolicy): GatePolicy =>
  correctedFor(1 + (search?.triedHere ?? 0), declared)

/** What metrics of the model file are computed from. */
export interface MetricInput {
  rows: MetricRows
  /** With the level that the gate judges by. */
  policy: GatePolicy
}

/** Undefined where the gate computes no metric. */
export function metricInputOf(input: GateInput, declared: GatePolicy): MetricInput | undefined {
  const policy = judgedPolicy(input, declared)
  if (unreadableInput(input, policy).length > 0) return undefined
  const naive = input.baseline ?? naiveAnswers(input.y, policy, answerWidth(input.challenger))
  return { rows: ownRows(input, policy, naive), policy }
}

/**
 * What the custom primary metric of a trial is computed from, once and without resamples. Like a metric of the task, it scores answers
 * outside of the limits of the label too, which the gate refuses.
 */
export const scoreInputOf = (
  { y, challenger }: Pick<GateInput, 'y' | 'challenger'>,
  policy: GatePolicy,
): MetricInput | undefined =>
  metricInputOf(
    { y, challenger, champion: null },
    {
      ...policy,
      range: undefined,
      primary: builtInPrimary(policy),
      custom: { [policy.primary]: { better: policy.custom![policy.primary]!.better } },
    },
  )

function ownRows(input: GateInput, policy: GatePolicy, baseline: ModelAnswers): MetricRows {
  const { y, challenger, champion, numbers, entities } = input
  const isWhole = (numbers?.added ?? []).length === 0
  const repeated = entities !== undefined && new Set(entities).size < rowsOfTruths(y, policy)
  return {
    y,
    challenger,
    champion: isWhole ? champion : null,
    baseline,
    anchors: isWhole ? (input.anchors ?? []) : [],
    entities: repeated ? entities : undefined,
  }
}

/** `metricsOfFile`: the metrics that the model file computes. */
export function judgeGate(
  input: GateInput,
  declared: GatePolicy,
  metricsOfFile: OwnMetrics = {},
): GateReport {
  const { y } = input
  const policy = judgedPolicy(input, declared)
  const report = emptyReport(input, policy)
  const unreadable = unreadableInput(input, policy)
  if (unreadable.length > 0) {
    const { against } = compressionFindings(input.compression)
    const refused = against.length > 0 || unreadable.some(({ verdict }) => verdict === 'not_better')
    const reasons = [...against, ...unreadable.map(({ reason }) => reason)]
    return { ...report, verdict: refused ? 'not_better' : 'insufficient', reasons }
  }

  const labels = new Float64Array(y)
  const weights = input.weights && withMeanOne(input.weights.values)
  const scored = (answers: ModelAnswers) => ({ ...score(policy.task, labels, answers, policy), weights })
  const targets = input.numbers?.compared ?? policy.targets
  const truths = input.numbers === undefined ? labels : Float64Array.from(truthsOf(y, policy, targets))
  // Each version decides by the threshold with which it serves.
  const released = (answers: ModelAnswers, threshold = policy.threshold) => ({
    ...score(policy.task, truths, answers, { ...policy, targets, threshold }),
    weights,
  })
  const challenger = scored(input.challenger)
  const champion = input.champion === null ? null : released(input.champion, input.thresholds?.champion)
  const naive = input.baseline ?? naiveAnswers(y, policy, answerWidth(input.challenger))
  const baseline = scored(naive)
  const anchor = input.anchor ? released(input.anchor, input.thresholds?.anchor) : null
  const rows = ownRows(input, policy, naive)
  const { entities } = rows

  const compared = compareAll({ challenger, champion, anchor, baseline }, policy, entities)
  const own = compareCustom(rows, policy, {
    metrics: metricsOfFile,
    isFirst: champion === null,
    added: input.numbers?.added,
  })
  const isPrimary = ({ metric }: GateMetricRow) => Number(metric === policy.primary)
  const metrics = [...compared.metrics, ...own.metrics].toSorted((a, b) => isPrimary(b) - isPrimary(a))
  const slices = judgeSlices(input.slices ?? [], challenger, champion, policy, entities)
  const calibration = judgeCalibration(challenger, champion, policy)
  // More challengers on these rows need no wider intervals here: those would let an unfair one pass that is tried again.
  const fairness = judgeFairness(input.groups ?? [], challenger, declared, {
    entities,
    classes: input.classes,
  })

  const tables = {
    ...report,
    metrics,
    classes:
      input.classes &&
      classFigures(labels, input.classes, { challenger: input.challenger, champion: input.champion }),
    levels: policy.levels && levelShares(labels, input.challenger, policy.levels),
    slices,
    sliceSearch:
      champion === null || input.columns === undefined
        ? undefined
        : searchSlices({ columns: input.columns, challenger, champion, entities }, policy),
    calibration,
    fairness,
  }
  const conclusion = concludeGate(tables, {
    isFirst: champion === null,
    leakage: input.leakage ?? {},
    reversed: reversedReasons(input, policy),
    compared: [...own.against, ...compared.against],
    basis: [...report.warnings, ...heavyTailReasons(challenger, policy)],
  })
  return { ...tables, ...conclusion }
}

function withMeanOne(values: readonly number[]): Float64Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  return Float64Array.from(values, (value) => value / mean)
}

/** What a verdict follows from beside the tables of its report. */
export interface GateFindings {
  /** Whether there is no champion to compare with. */
  isFirst: boolean
  leakage: LeakageFacts
  /** Inverted labels. */
  reversed: readonly Reason[]
  /** Objections from the primary metric, a guard, the anchor or the baseline. */
  compared: readonly Reason[]
  /** How the challenger was found, and what it is compared with. */
  basis: readonly Reason[]
}

type GateTables = Pick<
  GateReport,
  | 'rows'
  | 'weights'
  | 'positives'
  | 'metrics'
  | 'slices'
  | 'calibration'
  | 'fairness'
  | 'tests'
  | 'compression'
  | 'policy'
>

/** Why labels give no verdict on weights that have learnt them. */
const isOfLearntRows = ({ code }: Reason) => code === 'learnt_rows'

/** Draws the verdict from the tables of a report: the gate, and whoever verifies its report. */
export function concludeGate(
  {
    rows,
    weights,
    positives,
    metrics,
    slices,
    calibration,
    fairness,
    tests = [],
    compression,
    policy,
  }: GateTables,
  { isFirst, leakage, reversed, compared, basis }: GateFindings,
): Pick<GateReport, 'verdict' | 'needsPerson' | 'reasons' | 'warnings'> {
  const { against, unproven, passed } = compressionFindings(compression)
  const certain = [...leakageReasons(leakage, policy), ...failedTestReasons(tests), ...against]
  const uncalibrated = calibrationReasons(calibration, policy)
  // The Brier score already includes calibration, so a proven gain in it outweighs worse calibration.
  const isLossBetter = metrics.some(({ metric, verdict }) => metric === 'brier' && verdict === 'better')
  const own = customReasons(metrics, policy)
  const blocks = [
    ...certain,
    ...reversed,
    ...floorReasons(metrics, policy, isFirst),
    ...compared,
    ...own.against,
    ...sliceReasons(slices, policy),
    ...(isLossBetter ? [] : uncalibrated),
    ...fairnessReasons(fairness, policy, 'blocked'),
  ]
  const suspicious = [
    ...sharedFloorReasons(metrics),
    ...implausiblyGood(metrics, policy),
    ...openTestReasons(tests),
  ]
  const needsPerson = suspicious.length > 0
  const warnings = [
    ...(isLossBetter ? uncalibrated : []),
    ...own.warnings,
    ...unjudgedSlices(slices, policy),
    ...fairnessReasons(fairness, policy, 'doubtful'),
    ...repetitionReasons(leakage.differentRows, rows),
    ...shiftReasons(leakage.classShift, policy),
    ...suspectedLeakReasons(leakage, policy),
    ...basis.filter((each) => !isOfLearntRows(each)),
  ]
  // A leak, a failed test and a difference from the parent are certain even with few rows; everything else needs enough rows.
  const tooFew = [
    ...insufficientCounts({ rows, effectiveRows: weights?.effectiveRows, positives }, policy),
    ...unproven,
    ...basis.filter(isOfLearntRows),
  ]
  if (tooFew.length > 0 && certain.length === 0)
    return { verdict: 'insufficient', needsPerson, reasons: tooFew, warnings: [...blocks, ...warnings] }
  if (blocks.length > 0)
    return { verdict: 'not_better', needsPerson, reasons: [...blocks, ...suspicious], warnings }
  const primary = metrics.find((row) => row.metric === policy.primary)!
  // Weights that were trained on other rows differ by chance, so their gain is not one of the recipe.
  const isOfWeights = basis.some(({ code }) => code === 'judged_weights')
  const decides = isOfWeights ? { ...primary, verdict: 'not_worse' as const } : primary
  const verdict = isFirst || decides.verdict === 'better' ? 'better' : 'not_worse'
  return { verdict, needsPerson, reasons: [...suspicious, forReason(decides, isFirst), ...passed], warnings }
}

// Detects inverted labels. A challenger that learnt inverted labels looks far better than the champion on test labels that are inverted
// too; the champion then ranks worse than chance.

const confidence = 0.999

/** Checks all test rows, then each slice: labels come from regions or providers, and one of them may invert its labels. */
export function reversedReasons(
  { y, champion, slices = [] }: Pick<GateInput, 'y' | 'champion' | 'slices'>,
  { task }: Pick<GatePolicy, 'task'>,
): Reason[] {
  if (!gateOf(task).hasPositives || champion === null) return []
  const rowAt = answerReader(champion)
  const scores = new Float64Array(answeredRows(champion))
  for (let row = 0; row < scores.length; row++) scores[row] = rowAt(row).at(-1) ?? NaN
  const whole = reversedIn('', { y, scores }, confidence)
  if (whole !== undefined) return [whole]
  return slices.flatMap(({ name, rows }) => {
    const of = (cells: ArrayLike<number>) => pickInto(new Float64Array(rows.length), cells, rows)
    const each = 1 - (1 - confidence) / slices.length
    return reversedIn(` of the slice "${name}"`, { y: of(y), scores: of(scores) }, each) ?? []
  })
}

function reversedIn(
  where: string,
  { y, scores }: { y: ArrayLike<number>; scores: ArrayLike<number> },
  level: number,
): Reason | undefined {
  const value = auc(y, scores)
  const positives = countLabel(y, 1)
  const interval =
    value === null ? null : aucInterval(value, { positives, negatives: y.length - positives }, level)
  if (value === null || interval === null || interval[1] >= 0.5) return undefined
  const message = `the labels${where} may be inverted: AUC of the champion ${value.toFixed(4)}, at most ${interval[1].toFixed(4)} < 0.5`
  return { code: 'labels_reversed', message, values: { auc: value, atMost: interval[1] } }
}
