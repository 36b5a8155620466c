/**
 * Defines a model as data: everything of its file except the training function. It is stored by `tenure models sync`, so that all
 * workers use the same definition and a changed file takes effect without a restart.
 */
import type { BehaviourTest } from './behaviour/behaviour-test.ts'
import type { ImportancePolicy } from './explanation/importance.ts'
import type { Expectation } from './validation/expectations.ts'
import type { FloodPolicy } from './validation/floods.ts'
import type { FeatureView } from './model/feature-view.ts'
import type { Features, FeatureRow } from './model/features.ts'
import type { GatePolicy } from './evaluation/policy.ts'
import type { Traffic } from './serving/gateway.ts'
import type { Fallback } from './serving/kill-switch.ts'
import type { MonitorPolicy } from './monitoring/policy.ts'
import type { ReleasePolicy } from './release/policy.ts'
import type { RefitPolicy } from './training/refit.ts'
import type { RowWeights } from './training/row-weights.ts'
import type { Trainer } from './training/trainer.ts'
import type { BatchDefinition } from './triggers/partitions.ts'
import type { StartSchedule, TriggerDefinition } from './triggers/trigger.ts'
import { truthWidth, numbersOf } from './tasks/tasks.ts'
import type { Output } from './tasks/output.ts'

export interface ModelDefinition {
  name: string
  /** A description for the model card. */
  about?: string
  /** The person or team that answers for it. */
  owner?: string
  features: Features
  /**
   * The names of the features as the model file lists them, for artifacts that do not name their columns: Postgres keeps `features` in an order
   * of its own.
   */
  featureOrder: string[]
  label: LabelDefinition
  source: SourceDefinition
  expectations: Expectation[]
  split: SplitDefinition
  /** The handling of rows with flooded values. Default: they are thinned. */
  floods?: FloodPolicy
  /** The weights of the training rows. Default: all rows have equal weight. */
  weights?: RowWeights
  hyperparameters: Record<string, number | string | boolean>
  seed: number
  /** The program that trains the model. Default: the function of the model file. */
  trainer?: Trainer
  /** The file of Python whose code answers with what the trainer saves, relative to the folder of the model file. */
  serve?: string
  /** The model is not trained here: its versions are brought. */
  isBrought?: true
  evaluation: EvaluationDefinition
  /** Answers that every version must give. */
  tests?: BehaviourTest[]
  release: ReleasePolicy
  /** Trains the recipe that has passed the gate again on all matured rows. Default: the judged weights are released. */
  refit?: RefitPolicy
  retrain?: StartSchedule
  /** The triggers that start a retraining besides the schedule. */
  triggers?: TriggerDefinition[]
  /** Rows that the champion scores day by day or when a trigger fires. */
  batches?: BatchDefinition[]
  /** The monitoring policy. Default: the default limits. */
  monitor?: MonitorPolicy
  /** The fallback of the kill switch. */
  fallback?: Fallback
  /** The gateway that passes the requests of callers. Default: they ask the replicas. */
  traffic?: Traffic
  /** The column of the source that identifies the person of a row, for erasures. */
  subject?: string
  /** The views from which features are looked up. */
  views?: FeatureView[]
  /** Rows whose predictions every predictor must reproduce. Empty: they are chosen from the training rows. */
  golden: FeatureRow[]
}

/** The features as the model file lists them, whichever order Postgres keeps them in. */
export const listedFeatures = ({
  features,
  featureOrder,
}: Pick<ModelDefinition, 'features' | 'featureOrder'>): Features =>
  Object.fromEntries(featureOrder.map((name) => [name, features[name]!]))

export type LabelDefinition = {
  /** The column of the source that holds the label; for several numbers, the first. */
  column: string
  /** The column with the time at which the label became known. Default: it became known with its event. */
  knownAt?: string
  output: Output
}

/** The columns of the source that hold the label: one, or one per number. */
export const labelColumns = ({ column, output }: LabelDefinition): readonly string[] =>
  numbersOf(output).length > 0 ? numbersOf(output) : [column]

/** Where rows come from. All times are UTC without a zone. */
export interface SourceDefinition {
  kind: 'csv' | 'parquet' | 'postgres' | 'served'
  /** View name → path inside the checkout; empty for Postgres and for served rows. */
  files: Record<string, string>
  /** SQL of the source (DuckDB or Postgres) that gives one row per event. */
  rows: string
  /**
   * DuckDB SQL over `known`, the rows of `rows` that were known at `asOf`; adds derived features. A join in it
   * cannot read a row from the future.
   */
  derive?: string
  /** The column with the time of the event. Absent: every row is always known. */
  eventTime?: string
  /** How far before the split `derive` reads rows. */
  lookbackMs: number
  /** The columns that identify a row. Empty: all columns. */
  key: string[]
  /** The answered requests that are rows, for the kind `served`. */
  served?: ServedSource
  /** The name of a Postgres other than Tenure's own, for the kind `postgres`. */
  database?: string
  /** The program that writes the one file of the source, for the kind `parquet`. */
  program?: SourceProgram
}

/** A program that writes the rows of a source, by the contract of training programs. */
export type SourceProgram = Exclude<Trainer, { kind: 'queue' }> & {
  /** The variables of the worker's environment that the program gets. */
  secrets: string[]
}

/** The answered requests that are training rows, and from when on their outcomes count. */
export interface ServedSource {
  /** Leaves out older requests. Default: the whole log counts. */
  sinceMs?: number
  /** The age from which a request counts. Default: estimated from the delays of outcomes. */
  maturedMs?: number
  /** Whether an outcome was known when it arrived here, or when it was observed. */
  knownAt: 'arrived' | 'observed'
  /** The maximum number of requests, chosen by a hash of their ids. */
  maxRequests: number
  /** The minimum number of rows with an outcome. */
  minRows: number
}

export type SplitDefinition =
  /** Rows go to one side by a hash of their key, in the same proportion for each class when stratified. */
  | { kind: 'hash'; test: number; stratified: boolean; /** A share of all rows. */ validation?: number }
  /** The known rows of the last `testMs` are the test rows, those of the `trainMs` before are the training rows. */
  | {
      kind: 'time'
      trainMs: number
      testMs: number
      /** The last part of the training period, whose rows are validation rows. */
      validationMs?: number
      /** Each part leaves out events that were younger than this when the next part began: their early labels are a biased sample. */
      maturedMs: number
      /** The maximum number of rows of each part, sampled by a hash of their key. */
      maxTrain?: number
      maxTest?: number
    }

/** Whether some training rows are held back for validation. */
export const hasValidation = ({ split }: Pick<ModelDefinition, 'split'>): boolean =>
  (split.kind === 'hash' ? split.validation : split.validationMs) !== undefined

export interface EvaluationDefinition {
  policy: GatePolicy
  /** Predeclared parts of the test rows: all values of a column, or the rows that meet a condition in DuckDB SQL. */
  slices: SliceDefinition[]
  /** Columns whose values are compared for fairness. */
  groups: string[]
  /** The column that identifies the entity of a row, when an entity has several rows. */
  entity?: string
  /** A column that answers without a model, such as the last value; every challenger must beat it. */
  baseline?: string
  /** How the importance of features is measured. Default: the default rows and permutations. */
  importance?: ImportancePolicy | 'off'
  /** False: no break-glass order registers a challenger that the gate refused. */
  breakGlass?: false
}

export interface SliceDefinition {
  name: string
  /** DuckDB SQL over the columns of a snapshot. */
  where: string
}

/** The columns that every snapshot has in addition to the features. */
export const snapshotColumns = {
  /** 0 or 1, the class, or the number, by the kind of the output. */
  label: '_label',
  eventAt: '_event_at',
  knownAt: '_known_at',
  /** MD5 of the key columns. */
  key: '_key',
  part: '_part',
} as const

/** The columns of a snapshot that hold the label: one, or one per number. */
export const snapshotLabels = (output: Output): string[] =>
  Array.from({ length: truthWidth(output) }, (_, k) => (k === 0 ? snapshotColumns.label : `_label_${k + 1}`))

export type SnapshotPart = 'train' | 'validation' | 'test'
