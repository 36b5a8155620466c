/** Defines what a task decides: all that differs between the kinds of an output. `tasks.ts` lists the tasks. */
import type { ReferenceProfile } from '../model/reference-profile.ts'
import type { Expectation } from '../validation/expectations.ts'
import type { DeclaredKind } from '../values/readings.ts'
import type { AnswerBins, AnswerCounter } from './answer-bins.ts'
import type { OutcomeValue, Output, TaskName, AnswerField, NumberRange } from './output.ts'
import type {
  FairnessLimit,
  GateMetric,
  GroupMeasure,
  RowLoss,
  SliceMetric,
} from '../evaluation/gate-metrics.ts'
import type { ScoredRows } from '../evaluation/scored-rows.ts'
import type { ModelAnswers } from '../metrics/answers.ts'

export type Outputs = readonly number[] | Float32Array

/** `truths`: as `truth` returns them; −1 for a class that only another version knows. */
export type LossOf<O extends Output> = (
  output: O,
  outputs: Outputs,
  truths: readonly number[],
  facts: LossFacts,
) => number | null

export interface LossFacts {
  /** The range of each number that counts as 1; 0 for one that does not count. */
  scales: readonly number[]
  /** The probability from which the declared costs call for the positive decision: a false alarm costs as much, a miss the rest of 1. */
  threshold?: number
}

export interface Task<O extends Output> {
  /** The word of a model file that declares the label. */
  word: string

  // The answer.

  /** What a valid answer is, after "a". */
  expects: string
  /** The names of several numbers, each with a label of its own; empty where a row has one label. */
  numbers: (output: O) => readonly string[]
  /** The output of both, in the order of the first; undefined when answers cannot be compared. */
  shared: (one: O, other: Output) => O | undefined
  /** Whether the outputs of a row rise, so that crossing ones are sorted. */
  rises: boolean
  /** The place of the number that represents an answer. */
  place: (output: O, outputs: Outputs) => number
  /** The place of the number that represents every answer when one number is needed. */
  scorePlace: (output: O) => number
  /** The value of an answer that its profile counts: a class, or the number this many places behind the representing one. */
  profiled: (output: O, outputs: Outputs, number: number) => string | number | undefined
  /** The decisions that an answer makes between classes; undefined where it makes none. */
  decides: Decides<O> | undefined

  // The prediction.

  /** The fields of a prediction, in the order of its JSON. The first stands for it where an answer is one value. */
  fields: (output: O) => readonly AnswerField[]
  /** What a number of an answer is. */
  noun: string
  /** The limits of each number of an answer; others are refused. */
  range: (output: O) => NumberRange
  /** Whether the numbers of an answer sum to 1. */
  sumsToOne: boolean
  /** What the differences between the numbers of two answers are divided by for their distance. */
  distanceUnit: (output: O) => number

  // Words.

  /** What callers rely on besides the kind. */
  form: (output: O) => readonly unknown[]
  /** What callers read; `named` lists names. */
  described: (output: O, named: (names: readonly (string | number)[]) => string) => string

  // The label.

  /** Suggests the declaration that fits a model with this many outputs, after a colon; empty without one. */
  suggestion: (output: O, outputs: number) => string
  /** Why no version gives this answer in a behaviour test of one row; undefined when one may. */
  issueOfExact: (output: O, answer: unknown) => string | undefined
  /** Why a behaviour test cannot mean this number of an answer; undefined when it can. */
  issueOfMeant: (output: O, of: string | undefined) => string | undefined
  /** The outputs of the constant answer of a fallback; a text that says what is required, or `none` where no answer can be constant. */
  constant: (output: O, answer: string | number) => number[] | { required: string } | { none: string }
  /** How a column of the label is read. */
  labelKind: DeclaredKind
  /** What a training program is told of the label. */
  job: (output: O) => JobLabel
  /** The training targets of labels as the gate counts them, row by row. */
  targets: (output: O, labels: ArrayLike<number>) => Float32Array
  /** What training rows must hold in the columns of the label. */
  expected: (output: O, columns: readonly string[]) => Expectation[]

  // Outcomes.

  /** Why the value is invalid; undefined when it is valid. `now`: the output of the model file. */
  issueOfOutcome: (output: O, value: OutcomeValue, now: Output | undefined) => string | undefined
  /** One spelling of each outcome. */
  canonical: (output: O, value: OutcomeValue) => OutcomeValue
  /** The outcome of a text that is neither true or false nor a number; undefined where a text is read like that of any other task. */
  readText: (output: O, text: string) => OutcomeValue | undefined
  /** The truth of a canonical value as the gate counts it; null for any other value. */
  truth: (output: O, value: OutcomeValue) => number[] | null
  /** The losses of an answer from 0 to 1; null where no number has a scale. `losses.ts` chooses the one that judges. */
  losses: Partial<Record<RowLoss, LossOf<O>>>

  // The offline gate.

  gate: GateRules
  /** What the policy of the gate takes from the output of a version. */
  facts: (output: O) => Partial<GateFacts>

  // Disagreement.

  /** The bins of a champion's answers; undefined for numbers without a profile of their scores. */
  bins: (
    output: O,
    profile: Pick<ReferenceProfile, 'score' | 'scores'> | undefined,
  ) => Omit<AnswerBins, 'kind'> | undefined
  /** A counter for the outputs of a version; undefined without any of the numbers. */
  counter: (output: O, bins: AnswerBins) => AnswerCounter | undefined
}

/** The fields of the gate's policy that follow from an output. */
export interface GateFacts {
  /** The probability from which the positive class is predicted. */
  threshold: number
  /** The levels of quantiles. */
  levels?: readonly number[]
  /** The names of several numbers. */
  targets?: readonly string[]
  /** The share of the rows that can be looked at, above 0 and at most 1. */
  top?: number
}

/** What the gate decides by the name of a task, which is all that a policy and a report have. */
export interface GateRules {
  name: TaskName
  /** The metric that decides by default. */
  primary: GateMetric
  metrics: readonly GateMetric[]
  /** The losses that judge outcomes in place of metrics that are no averages over rows; `own`: of a function of the model file. */
  standIns: Partial<Record<GateMetric | 'own', RowLoss>>
  /** The metrics that compare slices. The first is the default of a primary metric that cannot. */
  sliceMetrics: readonly SliceMetric[]
  /** The metric whose implausibly large gain hints at a leak; undefined without a limit for one. */
  tooGood: GateMetric | undefined
  /** Whether the class 1 is the positive one, which evidence counts. */
  hasPositives: boolean
  /** What each limit of fairness compares between groups, for a sentence; a limit without a text has nothing to compare. */
  fairness: Partial<Record<FairnessLimit, string>>
  /**
   * By how much a metric can differ at most between two versions, as a multiple of the mean distance of their answers; for numbers in the
   * units that distances are divided by. A metric without a number here has no such bound.
   */
  mostPerDistance: Partial<Record<GateMetric, number>>
  /** What fairness compares between groups. `classes`: the names of the classes. */
  groupMeasures: (scored: ScoredRows, classes: readonly string[]) => GroupMeasure[]
  /** Why one column of the source cannot stand in for a model; undefined where it can. */
  baselineIssue: string | undefined
  /** The number of classes of answers of this width; 0 of numbers. */
  classes: (width: number) => number
  /** Why answers of this width cannot be scored, or null. */
  widthIssue: (width: number) => string | null
  /** Why answers of this width do not fit the policy, or the width of the challenger's. */
  misfit: (
    width: number,
    facts: Pick<GateFacts, 'levels' | 'targets'>,
    challenger: number,
  ) => string | undefined
  /** `y`: row by row. Compared models share it. */
  score: (y: Float64Array, answers: ModelAnswers, facts: GateFacts) => ScoredRows
  /** The losses of rows that are computed another way than those of other tasks. */
  losses: Partial<Record<'brier' | 'logLoss', (scored: ScoredRows) => Float64Array>>
  /** The one answer of a naive model, which knows only the labels. */
  naive: (y: readonly number[], facts: GateFacts & { primary: GateMetric }, width: number) => number[]
  /** An answer as the metrics of a model file get it. */
  forMetric: (row: readonly number[]) => number | readonly number[]
}

export interface JobLabel {
  classes?: readonly string[]
  positive?: string
  levels?: readonly number[]
  names?: readonly string[]
}

export interface Decides<O extends Output> {
  /** The names of the decisions. */
  names: (output: O) => readonly string[]
  /** The place of a decision among the names. */
  of: (output: O, outputs: Outputs) => number
  /** A decision as an outcome. */
  value: (output: O, decision: number) => boolean | string
  /** From which probability on the decision is the positive one; undefined where the largest probability decides. */
  threshold: (output: O) => number | undefined
  /** SQL of the text of a decision, of these columns of outputs. */
  sql: (output: O, columns: readonly string[]) => string
  /** Whether the answer to a row needs review; undefined without a band. */
  review: (output: O) => ((outputs: ArrayLike<number>, row: number) => boolean) | undefined
  /** `review` as SQL of these columns of outputs. */
  reviewSql: (output: O, columns: readonly string[]) => string | undefined
}
