/** Declares what a model file says, what its `train` receives, and the model that it exports. */
import type { LayersModel } from '@tensorflow/tfjs'
import type * as tfjs from '@tensorflow/tfjs'
import type { LabelDefinition, ModelDefinition } from '../../domain/model-definition.ts'
import type { MetricFunctions } from '../../domain/evaluation/custom-metrics.ts'
import type { Features } from '../../domain/model/features.ts'
import type { FloodPolicy } from '../../domain/validation/floods.ts'
import type { BehaviourSpec } from './behaviour/tests.ts'
import type { ExpectSpec } from './data/expect.ts'
import type { FallbackSpec } from './fallback.ts'
import type { TrafficSpec } from './traffic.ts'
import type { RowOf } from './data/features.ts'
import type { PrepareSpec } from './data/prepare.ts'
import type { EvaluationSpec } from './evaluation.ts'
import type { MonitorSpec } from './monitor.ts'
import type { ReleaseSpec } from './release.ts'
import type { RetrainEntry } from './triggers/retrain.ts'
import type { SourceSpec } from './data/source.ts'
import type { SplitSpec } from './split.ts'
import type { StopEarly } from '../../domain/training/early-stopping.ts'
import type { WeightsSpec } from './data/weights.ts'
import type { ScheduledBatchSpec } from './triggers/batches.ts'
import type { TrainerSpec } from './trainer.ts'

export type Hyperparameters = Record<string, number | string | boolean>

export interface FitOptions {
  /** The number of passes over all rows. */
  epochs: number
  /** The number of rows per step. Default: 32. */
  batchSize?: number
  /** Stops if the loss on the validation rows has not fallen for `after` epochs, and restores the best epoch. */
  stopEarly?: StopEarly
}

/** The argument of `train`. */
export interface Training<F extends Features = Features, H extends Hyperparameters = Hyperparameters> {
  /** TensorFlow.js on its native backend. */
  tf: typeof tfjs
  /** The training rows, in the form of a request. Created when first read, at about 200 bytes each. */
  rows: readonly RowOf<F>[]
  /** The validation rows of the split, on which `fit` measures the loss; empty without validation. */
  validation: readonly RowOf<F>[]
  /** The weight of each training row, with a mean of 1, which `fit` uses. Absent if all rows weigh the same. */
  weights?: Float32Array
  /** Number of columns of an encoded row: the input width of the network. */
  inputs: number
  /** Output width of the network: one for a probability or a number, otherwise one per class, level or number. */
  outputs: number
  /** The seed of every random choice: the same data, seed and code produce the same model. */
  seed: number
  /** The hyperparameters of the model file. */
  hyperparameters: Readonly<H>
  /**
   * Trains a compiled network on the encoded rows, in an order drawn from (seed, epoch). Saves a checkpoint after every epoch. A resumed
   * training continues from the last checkpoint with the same result.
   */
  fit: (network: LayersModel, options: FitOptions) => Promise<void>
  /** Reports progress from a custom training loop. Without `fit`, a killed training starts again. */
  progress: (step: { epoch: number; epochs: number; loss: number }) => void
}

export interface ModelFile<F extends Features, H extends Hyperparameters> {
  /** The name of the file, without its extension. */
  name: string
  /** A description for readers; shown in lists. */
  about?: string
  /** The person or team responsible for the model; named in requests for approval and on its pages. */
  owner?: string
  /**
   * The risk class: `high` requires two approvers, stages before 100 %, a probation, and a drill within five weeks. These become the
   * defaults of approvals and drills.
   */
  risk?: 'high'
  /** The features that the model takes: names with `number(…)` and `category(…)`. A request sends those that `prepare` does not compute. */
  features: F
  /**
   * Features that are computed from the fields of a row, in training, batches and requests alike: `{ fields: { charges: number(), months:
   * number() }, columns: { ratio: 'charges / nullif(months, 0)' } }`. A model file in Python may give a function of a data frame.
   */
  prepare?: PrepareSpec
  /** The label to predict: `yesNo(…)`, `oneOf(…)`, `quantity(…)`, `quantities(…)` or `quantiles(…)`. */
  label: LabelDefinition
  /** The source of the rows: `csv(…)`, `parquet(…)`, `postgres(…)` or `served(…)`. */
  source: SourceSpec
  /** The expectations that the rows must meet before a training. */
  expect?: readonly ExpectSpec[]
  /** The split into training and test rows: `byTime(…)`, `random(…)` or `stratified(…)`. */
  split: SplitSpec
  /**
   * What to do with the rows of a value that floods some periods, such as an attack: `'thin'` them to the usual share, `'leave_out'` all of
   * them, or `'warn'` and train on all. Default: `'thin'`.
   */
  floods?: FloodPolicy
  /** The weights of training rows: `{ column: 'weight' }`, `{ classes: 'balanced' }` or both. The gate weighs every row equally. */
  weights?: WeightsSpec
  /** Numbers, texts and booleans for `train`; stored with every version. */
  hyperparameters?: H
  /** The seed of every random choice. Default: 1. */
  seed?: number
  /**
   * Builds and fits the network; its output is a softmax for classes and a sigmoid for a probability. Or the training program:
   * `python('train.py')`, `command([…])` or `queue('gpu')`. Without it, users bring versions: `tenure versions register`.
   */
  train?: ((training: Training<F, H>) => LayersModel | Promise<LayersModel>) | TrainerSpec
  /**
   * The file whose code answers: `python('serve.py')`, with a class or functions `load(folder)` and `predict(frame)`. `job.save('folder')` of `train`
   * stores both. Default: the saved model answers by itself.
   */
  serve?: TrainerSpec
  /** The requirements of the gate. */
  evaluation: EvaluationSpec
  /** Predictions that every version must make: `exact(…)`, `invariance(…)` and `direction(…)`. A failing test refuses a challenger. */
  tests?: readonly BehaviourSpec[]
  /** The release strategy of a version that has passed the gate: `canary(…)` or another one. */
  release: ReleaseSpec
  /** The schedule of retrainings, or a list with a schedule, triggers and what follows a promotion. Default: none. */
  retrain?: RetrainEntry | readonly RetrainEntry[]
  /**
   * Batch predictions for each day or each firing of a trigger, by name: `{ daily: { rows: parquet('in/{date}.parquet'), partition: daily({
   * from: '2026-11-01' }) } }`.
   */
  batches?: Readonly<Record<string, ScheduledBatchSpec>>
  /** The source column that identifies the person of a row, such as a customer number, for erasures. It must not be a number among the features. */
  subject?: string
  /** The monitoring policy. Default: the default limits. */
  monitor?: MonitorSpec
  /** The fallback that serves while the kill switch is `fallback`: `always('setosa')` or `previousChampion()`. */
  fallback?: FallbackSpec
  /**
   * The gateway that passes the requests, where callers do not ask this system: `haproxy({ address: '10.0.0.5:9999', backend: 'roses' })`.
   * Default: callers ask the replicas.
   */
  traffic?: TrafficSpec
  /** Rows whose predictions every predictor must reproduce. Default: rows chosen from the training rows. */
  golden?: readonly RowOf<F>[]
}

export interface Model {
  kind: 'tenure-model'
  definition: ModelDefinition
  /** Absent if a program trains, or if users bring versions. */
  train?: (training: Training) => LayersModel | Promise<LayersModel>
  /** The functions of `evaluation.metrics`. */
  metrics: MetricFunctions
}
