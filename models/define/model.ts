/** Defines a model from its file: `defineModel` checks every part, reports all issues at once, and returns the definition as data. */
import type { LayersModel } from '@tensorflow/tfjs'
import type * as tfjs from '@tensorflow/tfjs'
import type { LabelDefinition, ModelDefinition } from '../../domain/model-definition.ts'
import { higherIsBetter, metricsFor } from '../../domain/evaluation/metrics.ts'
import { DomainError } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import type { MetricFunctions } from '../../domain/evaluation/custom-metrics.ts'
import type { Features } from '../../domain/model/features.ts'
import { floodPolicies, type FloodPolicy } from '../../domain/validation/floods.ts'
import { isStorable } from '../../domain/postgres-text.ts'
import { compileTests, type BehaviourSpec } from './behaviour/tests.ts'
import { metricFunctions } from './custom-metrics.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import { compileExpectations, type ExpectSpec } from './data/expect.ts'
import { compileFallback, type FallbackSpec } from './fallback.ts'
import { checkFeatures, issuesOfRow, type RowOf } from './data/features.ts'
import { compileEvaluation, type EvaluationSpec } from './evaluation.ts'
import { checkLabel } from './label.ts'
import { compileViews } from './data/lookup.ts'
import { compileMonitor, type MonitorSpec } from './monitor.ts'
import { compileRelease, type ReleaseSpec } from './release.ts'
import { collectIssues, type IssueCollector } from './issues.ts'
import { compileRetrain, type RetrainSpec } from './triggers/retrain.ts'
import { labelOfServed } from './data/served.ts'
import { compileSource, type SourceSpec } from './data/source.ts'
import { compileSplit, type SplitSpec } from './split.ts'
import type { StopEarly } from '../../domain/training/early-stopping.ts'
import { compileWeights, type WeightsSpec } from './data/weights.ts'
import { compileBatches, type ScheduledBatchSpec } from './triggers/batches.ts'
import type { TriggerSpec } from './triggers/triggers.ts'
import { compileTrainer, type TrainerSpec } from './trainer.ts'

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
  /** The features that a request must send: names with `number(…)` and `category(…)`. */
  features: F
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
  /** The requirements of the gate. */
  evaluation: EvaluationSpec
  /** Predictions that every version must make: `exact(…)`, `invariance(…)` and `direction(…)`. A failing test refuses a challenger. */
  tests?: readonly BehaviourSpec[]
  /** The release strategy of a version that has passed the gate: `canary(…)` or another one. */
  release: ReleaseSpec
  /** The schedule of retrainings, or a list with a schedule and triggers. Default: none. */
  retrain?: RetrainSpec | readonly (RetrainSpec | TriggerSpec)[]
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

/** Defines a model. Throws `invalid_model_file` with all issues in `context.issues`; each begins with its place. */
export function defineModel<const F extends Features, const H extends Hyperparameters = Record<never, never>>(
  file: ModelFile<F, H>,
): Model {
  const { report, issues } = collectIssues()
  if (!isObject(file))
    throw new DomainError('invalid_model_file', 'defineModel takes one object', {
      issues: [
        `defineModel: one object is required, with name, features, label and more, not ${String(file)}`,
      ],
    })
  const definition = compileModel(report, file as unknown as ModelFile<Features, Hyperparameters>)
  if (issues.length > 0)
    throw new DomainError(
      'invalid_model_file',
      `the model ${file.name} has ${counted(issues.length, 'issue')}: ${issues.join('; ')}`,
      { model: file.name, issues },
    )
  const train = typeof file.train === 'function' ? (file.train as unknown as Model['train']) : undefined
  return { kind: 'tenure-model', definition, train, metrics: metricFunctions(file.evaluation.metrics) }
}

/** The required parts, each with the function that makes it. */
const wantedParts = {
  features: 'names with number(…) and category(…)',
  label: 'yesNo(…), oneOf(…), quantity(…), quantities(…) or quantiles(…)',
  source: 'csv(…), parquet(…), postgres(…) or served(…)',
  split: 'byTime(…), random(…) or stratified(…)',
  evaluation: 'an object such as { floors: { auc: 0.8 } }',
  release: 'canary(…), direct() or another strategy',
} as const
type Part = keyof typeof wantedParts

const fields = fieldNames<ModelFile<Features, Hyperparameters>>({
  name: 0,
  about: 0,
  owner: 0,
  risk: 0,
  features: 0,
  label: 0,
  source: 0,
  expect: 0,
  split: 0,
  floods: 0,
  weights: 0,
  hyperparameters: 0,
  seed: 0,
  train: 0,
  evaluation: 0,
  tests: 0,
  release: 0,
  retrain: 0,
  batches: 0,
  subject: 0,
  monitor: 0,
  fallback: 0,
  golden: 0,
})

function compileModel(report: IssueCollector, file: ModelFile<Features, Hyperparameters>): ModelDefinition {
  if (typeof file.name !== 'string' || !/^[a-z][a-z0-9-]{0,62}$/.test(file.name))
    report('name', 'up to 63 lower-case letters, digits and hyphens, beginning with a letter')
  const isBrought = !('train' in file)
  const trainer = isBrought ? undefined : compileTrainer(report, file.train)
  if (isBrought && file.retrain !== undefined)
    report('retrain', 'a schedule and triggers need train: without it, versions are brought')
  reportUnknown(report, file.name, file, fields)
  const missing = new Set<Part>()
  for (const [name, made] of Object.entries(wantedParts) as [Part, string][]) {
    const given: unknown = file[name]
    if (isObject(given)) continue
    missing.add(name)
    report(
      name,
      given === undefined || given === null
        ? 'is missing'
        : `${made} is required, not ${JSON.stringify(given)}`,
    )
  }
  // Model files run without type checks, so a part of the wrong shape must not hide the issues of the other parts.
  const part = <T>(place: string, needs: readonly Part[], lower: () => T): T => {
    if (needs.some((name) => missing.has(name))) return undefined as T
    try {
      return lower()
    } catch (error) {
      report(place, `has the wrong shape: ${error instanceof Error ? error.message : error}`)
      return undefined as T
    }
  }
  const { features, label, source, seed = 1, hyperparameters = {}, subject, owner } = file
  if (owner !== undefined && (typeof owner !== 'string' || owner.trim() === '' || owner.length > 200))
    report('owner', 'a person or a team, of up to 200 characters')
  if (subject !== undefined && (typeof subject !== 'string' || subject === '' || subject.length > 100))
    report('subject', 'the name of a column of the source, of up to 100 characters')
  // The log keeps numbers with 32 bits, so 16777217 and 16777216 would be one person.
  else if (subject !== undefined && isObject(features) && features[subject]?.kind === 'number')
    report(
      'subject',
      `${subject} is a number among the features, and the prediction log rounds numbers, so a person cannot be found by it: declare it as category(), or leave it out of the features and send it as the routing key`,
    )
  part('floods', ['source'], () => checkFloods(report, file.floods, source))
  part('features', ['features'], () => checkFeatures(report, features))
  part('label', ['features', 'label'], () => checkLabel(report, label, features))
  if (!Number.isSafeInteger(seed) || seed < 0)
    report('seed', `a whole number from 0 is required, not ${seed}`)
  part('hyperparameters', [], () => checkHyperparameters(report, hyperparameters))
  const golden = (file.golden ?? []) as ModelDefinition['golden']
  part('golden', ['features'], () =>
    golden.forEach((row, index) =>
      issuesOfRow(features, row).forEach((issue) => report(`golden[${index}]`, issue)),
    ),
  )
  const optional = <S, T>(
    place: string,
    needs: readonly Part[],
    spec: S | undefined,
    lower: (spec: S) => T,
  ) => (spec === undefined ? undefined : part(place, needs, () => lower(spec)))
  const views =
    part('features', ['features', 'source'], () => compileViews(report, features, source.options)) ?? []
  const known = part('label', ['features', 'label', 'source'], () =>
    source.kind === 'served'
      ? labelOfServed(report, { label, features, derive: source.options.derive })
      : label,
  )
  const definition: ModelDefinition = {
    name: file.name,
    about: file.about === undefined ? undefined : String(file.about).trim(),
    owner,
    features,
    featureOrder: isObject(features) ? Object.keys(features) : [],
    label: known,
    source: part('source', ['source'], () => compileSource(report, source)),
    expectations: part('expect', ['features', 'label'], () =>
      compileExpectations(file.expect ?? [], { report, features, label }),
    ),
    split: part('split', ['split', 'source'], () =>
      compileSplit(report, file.split, source.options.eventTime !== undefined),
    ),
    floods: file.floods,
    weights: optional('weights', ['label'], file.weights, (spec) => compileWeights(report, spec, label)),
    hyperparameters,
    seed,
    trainer,
    isBrought: isBrought || undefined,
    evaluation: part('evaluation', ['evaluation', 'label'], () =>
      compileEvaluation(report, file.evaluation, label),
    ),
    tests: optional('tests', ['features', 'label'], file.tests, (specs) =>
      compileTests(report, specs, { features, label }),
    ),
    release: part('release', ['release'], () =>
      compileRelease(report, file.release, file.risk, isObject(features) ? features : undefined),
    ),
    ...optional('retrain', [], file.retrain, (spec) => compileRetrain(report, spec)),
    batches: optional('batches', [], file.batches, (specs) => compileBatches(report, specs)),
    monitor: optional('monitor', ['features'], file.monitor, (spec) =>
      compileMonitor(report, spec, Object.keys(features)),
    ),
    fallback: optional('fallback', ['label'], file.fallback, (spec) => compileFallback(report, spec, label)),
    subject,
    views: views.length === 0 ? undefined : views,
    golden,
  }
  for (const { name } of definition.batches ?? [])
    if (definition.triggers?.some((trigger) => trigger.name === name))
      report('batches', `${name} is a trigger too: give one of them another name`)
  checkQualityLimits(report, definition)
  if (!isStorable(definition))
    report('model', 'a text has NUL or an incomplete character, which cannot be stored')
  return definition
}

/** A warning that comes after the alarm never comes. */
function checkQualityLimits(report: IssueCollector, { evaluation, monitor }: Partial<ModelDefinition>): void {
  const { quality } = monitor ?? {}
  if (!quality || !evaluation) return
  const { task, primary } = evaluation.policy
  if (!metricsFor(task).includes(primary)) return
  const isHigher = higherIsBetter(primary)
  if (isHigher ? quality.alarm > quality.warn : quality.alarm < quality.warn)
    report(
      'monitor.quality',
      `of ${primary}, a ${isHigher ? 'lower' : 'higher'} value is worse, so alarm (${quality.alarm}) is not ${isHigher ? 'above' : 'below'} warn (${quality.warn})`,
    )
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null

function checkFloods(report: IssueCollector, floods: unknown, { kind, options }: SourceSpec): void {
  if (floods === undefined) return
  if (!floodPolicies.some((policy) => policy === floods))
    report('floods', `one of ${floodPolicies.join(', ')} is required, not ${JSON.stringify(floods)}`)
  if (kind !== 'served' && options.eventTime === undefined)
    report('floods', 'needs the eventTime of the source')
}

function checkHyperparameters(report: IssueCollector, hyperparameters: Hyperparameters): void {
  for (const [name, value] of Object.entries(hyperparameters))
    if (typeof value === 'number' ? !Number.isFinite(value) : !['string', 'boolean'].includes(typeof value))
      report(`hyperparameters.${name}`, 'a finite number, a text, true or false is required')
}
