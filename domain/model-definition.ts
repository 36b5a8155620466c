/**
 * Defines a model as data: everything of its file except the training function. It is stored by `tenure models sync`, so that all
 * workers use the same definition and a changed file takes effect without a restart.
 */
import type { BehaviourTest } from './behaviour/behaviour-test.ts'
import type { ImportancePolicy } from './explanation/importance.ts'
import type { Expectation } from './validation/expectations.ts'
import type { FloodPolicy } from './validation/floods.ts'
import type { FeatureView } from './model/feature-view.ts'
import { truthWidth, type Features, type Output, type FeatureRow } from './model/features.ts'
import type { GatePolicy } from './evaluation/policy.ts'
import type { Fallback } from './serving/kill-switch.ts'
import type { MonitorPolicy } from './monitoring/policy.ts'
import type { ReleasePolicy } from './release/policy.ts'
import type { RowWeights } from './training/row-weights.ts'
import type { Trainer } from './training/trainer.ts'
import type { BatchDefinition } from './triggers/partitions.ts'
import type { StartSchedule, TriggerDefinition } from './triggers/trigger.ts'

export interface ModelDefinition {
  name: string
  /** A description for the model card. */
  about?: string
  /** The person or team that answers for it. */
  owner?: string
  features: Features
  /**
   * The names of the features as the model file lists them, for artifacts that do not name their columns: Postgres keeps `features` in an order
   * of its own. Absent in definitions that were stored before.
   */
  featureOrder?: string[]
  label: LabelDefinition
  source: SourceDefinition
  expectations: Expectation[]
  split: SplitDefinition
  /** What becomes of rows of flooded values; as usual when absent. */
  floods?: FloodPolicy
  /** How much training rows count; alike when absent. */
  weights?: RowWeights
  hyperparameters: Record<string, number | string | boolean>
  seed: number
  /** The program that trains it; the function of the model file when absent. */
  trainer?: Trainer
  /** Nothing trains it here: its versions are brought. */
  isBrought?: true
  evaluation: EvaluationDefinition
  /** Answers that every version must give; absent without any. */
  tests?: BehaviourTest[]
  release: ReleasePolicy
  retrain?: StartSchedule
  /** What starts a retraining besides the schedule; absent without any. */
  triggers?: TriggerDefinition[]
  /** Rows that the champion scores day by day or when a trigger fires; absent without any. */
  batches?: BatchDefinition[]
  /** The monitoring policy; the default limits when absent. */
  monitor?: MonitorPolicy
  /** The fallback of the kill switch. */
  fallback?: Fallback
  /** The column of the source that identifies the person of a row, for erasures. */
  subject?: string
  /** The views from which features are looked up; absent without any. */
  views?: FeatureView[]
  /** Rows whose predictions every predictor must reproduce; chosen from the training rows when empty. */
  golden: FeatureRow[]
}

/** The features in the order of the model file; definitions that were stored before it was kept have that of Postgres. */
export const featureNames = ({
  features,
  featureOrder,
}: Pick<ModelDefinition, 'features' | 'featureOrder'>): string[] => featureOrder ?? Object.keys(features)

export type LabelDefinition = {
  /** The column of the source that holds it; of several numbers the first. */
  column: string
  /** The column with the time at which the label became known; known with its event when absent. */
  knownAt?: string
  output: Output
}

/** The columns of the source that hold the label: of several numbers one for each. */
export const labelColumns = ({ column, output }: LabelDefinition): readonly string[] =>
  output.kind === 'numbers' ? output.names : [column]

/** Where rows come from. All times are UTC without a zone. */
export interface SourceDefinition {
  kind: 'csv' | 'parquet' | 'postgres' | 'served'
  /** View name → path inside the checkout; empty for Postgres and for served rows. */
  files: Record<string, string>
  /** One row an event, in the SQL of the source (DuckDB, or Postgres). */
  rows: string
  /**
   * DuckDB SQL over `known`, the rows of `rows` that were known at `asOf`; adds derived features. Whatever it
   * joins, it cannot see a row from the future.
   */
  derive?: string
  /** The column with the time of the event; without it every row is always known. */
  eventTime?: string
  /** How much longer than the split the history is that `derive` looks back on. */
  lookbackMs: number
  /** The columns that name a row; all of them when empty. */
  key: string[]
  /** Which answered requests are rows; of the kind `served`. */
  served?: ServedSource
}

/** The answered requests that are training rows, and from when on their outcomes count. */
export interface ServedSource {
  /** Older requests are left out; the whole log counts when absent. */
  sinceMs?: number
  /** The age from which a request counts; learnt from the delays of outcomes when absent. */
  maturedMs?: number
  /** Whether an outcome was known when it arrived here, or when it was observed. */
  knownAt: 'arrived' | 'observed'
  /** At most this many requests, chosen by a hash of their ids. */
  maxRequests: number
  /** Fewer rows with an outcome are refused. */
  minRows: number
}

export type SplitDefinition =
  /** Rows go to one side by a hash of their key, in the same proportion for each class when stratified. */
  | { kind: 'hash'; test: number; stratified: boolean; /** A share of all rows. */ validation?: number }
  /** The last `testMs` of what is known are the test rows. Those of the `trainMs` before them are the training rows. */
  | {
      kind: 'time'
      trainMs: number
      testMs: number
      /** The last part of the training period, whose rows are validation rows. */
      validationMs?: number
      /** Each part leaves out events that were younger than this when the next part began: their early labels are a biased sample. */
      maturedMs: number
      /** At most this many rows of each part, sampled by a hash of their key. */
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
  /** The column of who or what a row belongs to, when one has several rows. */
  entity?: string
  /** A column that answers without a model, such as the last value; every challenger must beat it. */
  baseline?: string
  /** How the importance of features is measured; as usual when absent. */
  importance?: ImportancePolicy | 'off'
}

export interface SliceDefinition {
  name: string
  /** DuckDB SQL over the columns of a snapshot. */
  where: string
}

/** The columns that every snapshot has beside the features. */
export const snapshotColumns = {
  /** 0 or 1, the class, or the number, by the kind of the output. */
  label: '_label',
  eventAt: '_event_at',
  knownAt: '_known_at',
  /** MD5 of the key columns. */
  key: '_key',
  part: '_part',
} as const

/** The columns of a snapshot that hold the label: of several numbers one for each. */
export const snapshotLabels = (output: Output): string[] =>
  Array.from({ length: truthWidth(output) }, (_, k) => (k === 0 ? snapshotColumns.label : `_label_${k + 1}`))

export type SnapshotPart = 'train' | 'validation' | 'test'
