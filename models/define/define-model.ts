/** Defines a model from its file: `defineModel` checks every part, reports all issues at once, and returns the definition as data. */
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { GateMetric } from '../../domain/evaluation/gate-metrics.ts'
import { higherIsBetter } from '../../domain/evaluation/metrics.ts'
import { builtInPrimary, hasCustomPrimary } from '../../domain/evaluation/policy.ts'
import { DomainError } from '../../domain/errors.ts'
import { counted } from '../../domain/figures.ts'
import { isDigested, modelFeatures, sentFeatures, type Features } from '../../domain/model/features.ts'
import { issueOfParent } from '../../domain/model/compression.ts'
import { digestReason } from '../../domain/model/logged-rows.ts'
import { floodPolicies } from '../../domain/validation/floods.ts'
import { isStorable } from '../../domain/postgres-text.ts'
import { compileTests } from './behaviour/tests.ts'
import { metricFunctions } from './custom-metrics.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import { compileExpectations } from './data/expect.ts'
import { compileFallback } from './fallback.ts'
import { checkFeatures, issuesOfRow, storedRow } from './data/features.ts'
import { withPrepare } from './data/prepare.ts'
import { compileEvaluation } from './evaluation.ts'
import { checkLabel } from './label.ts'
import { compileViews } from './data/lookup.ts'
import type { Hyperparameters, Model, ModelFile } from './model.ts'
import { compileMonitor } from './monitor.ts'
import { compileRefit, compileRelease, withCostLimits } from './release.ts'
import { collectIssues, shapeProblem, type IssueCollector } from './issues.ts'
import { compileRetrain } from './triggers/retrain.ts'
import { labelOfServed } from './data/served.ts'
import { compileSource, type SourceSpec } from './data/source.ts'
import { compileSplit } from './split.ts'
import { compileWeights } from './data/weights.ts'
import { compileBatches } from './triggers/batches.ts'
import { compileTraffic } from './traffic.ts'
import { compileServe, compileTrainer } from './trainer.ts'
import { gateOf } from '../../domain/tasks/tasks.ts'

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
  const definition = compileModel(report, file as unknown as AnyModelFile)
  if (issues.length > 0)
    throw new DomainError(
      'invalid_model_file',
      `the model ${file.name} has ${counted(issues.length, 'issue')}: ${issues.join('; ')}`,
      { model: file.name, issues },
    )
  const train = typeof file.train === 'function' ? (file.train as unknown as Model['train']) : undefined
  const metrics = metricFunctions(file.evaluation.metrics)
  const model: Model = { kind: 'tenure-model', definition, train, metrics }
  files.set(model, file)
  return model
}

const files = new WeakMap<Model, object>()

/** What `defineModel` was called with. Throws for a model that was made otherwise. */
export function fileOfDefined(model: Model): object {
  const file = files.get(model)
  if (file === undefined)
    throw new DomainError('invalid_model_file', 'the model was not made with defineModel', {
      issues: ['exports: a model made with defineModel is required'],
    })
  return file
}

type AnyModelFile = ModelFile<Features, Hyperparameters>

/** The required parts, each with the function that makes it. */
const requiredParts = {
  features: 'names with number(…) and category(…)',
  label: 'yesNo(…), oneOf(…), quantity(…), quantities(…) or quantiles(…)',
  source: 'csv(…), parquet(…), postgres(…), program(…) or served(…)',
  split: 'byTime(…), random(…) or stratified(…)',
  evaluation: 'an object such as { floors: { auc: 0.8 } }',
  release: 'canary(…), direct() or another strategy',
} as const
type Part = keyof typeof requiredParts

const fields = fieldNames<AnyModelFile>({
  name: 0,
  about: 0,
  owner: 0,
  risk: 0,
  features: 0,
  prepare: 0,
  label: 0,
  source: 0,
  expect: 0,
  split: 0,
  floods: 0,
  weights: 0,
  hyperparameters: 0,
  seed: 0,
  train: 0,
  serve: 0,
  evaluation: 0,
  tests: 0,
  release: 0,
  retrain: 0,
  batches: 0,
  subject: 0,
  monitor: 0,
  fallback: 0,
  traffic: 0,
  golden: 0,
})

function compileModel(report: IssueCollector, file: AnyModelFile): ModelDefinition {
  checkName(report, file.name)
  const isBrought = !('train' in file)
  const trainer = isBrought ? undefined : compileTrainer(report, file.train)
  reportUnknown(report, file.name, file, fields)
  const compilers = compilersOf(report, file, reportMissing(report, file))
  checkParts(report, file, compilers)
  const joined = compilers.part('prepare', ['features'], () =>
    withPrepare(report, file.features, file.prepare),
  )
  const definition: ModelDefinition = {
    ...compileParts(report, { ...file, features: joined ?? file.features }, compilers),
    trainer,
    serve: compileServe(report, file.serve, trainer),
    isBrought: isBrought || undefined,
  }
  checkTaken(report, definition)
  const { retrain, triggers = [] } = definition
  if (isBrought && (retrain !== undefined || triggers.some(({ kind }) => kind !== 'promotion')))
    report('retrain', 'a schedule and triggers need train: without it, versions are brought')
  checkCompressed(report, definition)
  checkBatchNames(report, definition)
  checkQualityLimits(report, definition)
  if (!isStorable(definition))
    report('model', 'a text has NUL or an incomplete character, which cannot be stored')
  return definition
}

/** Reports the required parts that are missing or no objects, and returns them. */
function reportMissing(report: IssueCollector, file: AnyModelFile): ReadonlySet<Part> {
  const missing = new Set<Part>()
  for (const [name, made] of Object.entries(requiredParts) as [Part, string][]) {
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
  return missing
}

interface Compilers {
  /** Compiles or checks a part, unless one that it needs is missing. */
  part<T>(place: string, needs: readonly Part[], compile: () => T): T
  /** The same of a part that may be absent. */
  optional<S, T>(
    place: string,
    needs: readonly Part[],
    spec: S | undefined,
    compile: (spec: S) => T,
  ): T | undefined
}

/** Model files run without type checks, so a part of the wrong shape must not hide the issues of the other parts. */
function compilersOf(report: IssueCollector, file: AnyModelFile, missing: ReadonlySet<Part>): Compilers {
  const part: Compilers['part'] = <T>(place: string, needs: readonly Part[], compile: () => T): T => {
    if (needs.some((name) => missing.has(name))) return undefined as T
    try {
      return compile()
    } catch (error) {
      report(place, shapeProblem(error, (file as unknown as Record<string, unknown>)[place]))
      return undefined as T
    }
  }
  return {
    part,
    optional: (place, needs, spec, compile) =>
      spec === undefined ? undefined : part(place, needs, () => compile(spec)),
  }
}

/** Checks the parts that the definition takes over as they are. */
function checkParts(report: IssueCollector, file: AnyModelFile, { part }: Compilers): void {
  const { features, label, source, seed = 1, hyperparameters = {}, golden = [] } = file
  checkOwner(report, file.owner)
  checkSubject(report, file)
  part('floods', ['source'], () => checkFloods(report, file.floods, source))
  part('features', ['features'], () => checkFeatures(report, features))
  part('label', ['features', 'label'], () => checkLabel(report, label, features))
  if (!Number.isSafeInteger(seed) || seed < 0)
    report('seed', `a whole number from 0 is required, not ${seed}`)
  part('hyperparameters', [], () => checkHyperparameters(report, hyperparameters))
  if (file.prepare !== undefined && golden.length > 0)
    report('golden', 'with prepare, the rows are chosen from the training rows: leave them out')
  part('golden', ['features'], () =>
    golden.forEach((row, index) =>
      issuesOfRow(features, row).forEach((issue) => report(`golden[${index}]`, issue)),
    ),
  )
}

function compileParts(
  report: IssueCollector,
  file: AnyModelFile,
  { part, optional }: Compilers,
): Omit<ModelDefinition, 'trainer' | 'serve' | 'isBrought'> {
  const { features, label, source, seed = 1, hyperparameters = {}, subject, owner } = file
  const views =
    part('features', ['features', 'source'], () => compileViews(report, features, source.options)) ?? []
  const known = part('label', ['features', 'label', 'source'], () =>
    source.kind === 'served'
      ? labelOfServed(report, { label, features, derive: source.options.derive })
      : label,
  )
  const parts = {
    name: file.name,
    about: file.about === undefined ? undefined : String(file.about).trim(),
    owner,
    features,
    featureOrder: isObject(features) ? Object.keys(features) : [],
    label: known,
    source: part('source', ['features', 'source'], () => compileSource(report, source, features)),
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
    evaluation: part('evaluation', ['evaluation', 'label'], () =>
      compileEvaluation(report, file.evaluation, label),
    ),
    tests: optional('tests', ['features', 'label'], file.tests, (specs) =>
      compileTests(report, specs, { features: sentFeatures(features), label }),
    ),
    release: part('release', ['release'], () =>
      withCostLimits(
        report,
        compileRelease(report, file.release, file.risk, {
          features: isObject(features) ? sentFeatures(features) : undefined,
          output: isObject(label) && isObject(label.output) ? label.output : undefined,
        }),
        file.evaluation?.cost,
      ),
    ),
    refit: part('release', ['release', 'split', 'label'], () =>
      compileRefit(report, file.release, file.split, label.output),
    ),
    ...optional('retrain', [], file.retrain, (spec) => compileRetrain(report, spec)),
    batches: optional('batches', [], file.batches, (specs) => compileBatches(report, specs)),
    monitor: optional('monitor', ['features'], file.monitor, (spec) =>
      compileMonitor(report, spec, Object.keys(features)),
    ),
    fallback: optional('fallback', ['label'], file.fallback, (spec) => compileFallback(report, spec, label)),
    subject,
    views: views.length === 0 ? undefined : views,
    golden: Array.isArray(file.golden) ? file.golden.map(storedRow) : [],
  }
  return {
    ...parts,
    traffic: optional('traffic', ['release'], file.traffic, (spec) =>
      compileTraffic(report, spec, parts.release),
    ),
  }
}

/** A training function gives a network, and `serve` answers with code. What a program saves or a user brings is known when it is there. */
function checkCompressed(
  report: IssueCollector,
  { triggers = [], features, trainer, serve, isBrought }: ModelDefinition,
): void {
  const wish = triggers.find((each) => each.kind === 'promotion')?.compression
  if (wish === undefined || (isBrought === true && wish.to !== 'distil')) return
  const network = { 'model.json': 0, 'weights.bin': 0 }
  const issue = issueOfParent({ files: network, features, to: wish.to })
  if (wish.to === 'distil') {
    if (issue !== undefined) report('retrain.then', issue)
  } else if (serve !== undefined) report('retrain.then', `${serve} answers, and code cannot be compressed`)
  else if (trainer === undefined && issue !== undefined)
    report('retrain.then', `a network cannot be compressed to ${wish.to}`)
}

function checkName(report: IssueCollector, name: unknown): void {
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,62}$/.test(name))
    report('name', 'up to 63 lower-case letters, digits and hyphens, beginning with a letter')
}

function checkOwner(report: IssueCollector, owner: unknown): void {
  if (owner !== undefined && (typeof owner !== 'string' || owner.trim() === '' || owner.length > 200))
    report('owner', 'a person or a team, of up to 200 characters')
}

function checkSubject(report: IssueCollector, { subject, features }: AnyModelFile): void {
  if (subject === undefined) return
  if (typeof subject !== 'string' || subject === '' || subject.length > 100)
    report('subject', 'the name of a column of the source, of up to 100 characters')
  // The log keeps numbers with 32 bits, so 16777217 and 16777216 would be one person.
  else if (isObject(features) && features[subject]?.kind === 'number')
    report(
      'subject',
      `${subject} is a number among the features, and the prediction log rounds numbers, so a person cannot be found by it: declare it as category(), or leave it out of the features and send it as the routing key`,
    )
  else if (isObject(features) && features[subject] !== undefined && isDigested(features[subject]))
    report(
      'subject',
      `${digestReason([subject])}, so a person cannot be found by it: write log: 'value', or send the person as the routing key`,
    )
}

/** Networks trained here take numbers and categories. */
function checkTaken(report: IssueCollector, { features, trainer, isBrought }: ModelDefinition): void {
  if (trainer !== undefined || isBrought === true) return
  if (!isObject(features) || !Object.values(features).every(isObject)) return
  for (const [name, { kind }] of Object.entries(modelFeatures(features)))
    if (kind === 'text' || kind === 'vector' || kind === 'image')
      report(
        `features.${name}`,
        `a network of TensorFlow.js takes no ${kind}(): train with python(…) and job.save, or bring a model that takes it`,
      )
}

function checkBatchNames(report: IssueCollector, { batches, triggers }: ModelDefinition): void {
  for (const { name } of batches ?? [])
    if (triggers?.some((trigger) => trigger.name === name))
      report('batches', `${name} is a trigger too: give one of them another name`)
}

/** A warning that comes after the alarm never comes. */
function checkQualityLimits(report: IssueCollector, { evaluation, monitor }: Partial<ModelDefinition>): void {
  const { quality } = monitor ?? {}
  if (!quality || !evaluation) return
  const { task } = evaluation.policy
  const primary = builtInPrimary(evaluation.policy)
  const { metrics: known } = gateOf(task)
  const { metrics = {}, ...own } = quality
  for (const metric of Object.keys(metrics))
    if (metric === primary)
      report(
        'monitor.quality.metrics',
        `${metric} ${hasCustomPrimary(evaluation.policy) ? 'stands in for the primary metric' : 'is the primary metric'}: write its limits as quality.warn and quality.alarm`,
      )
    else if (!known.some((each) => each === metric))
      report('monitor.quality.metrics', `a ${task} model has the metrics ${known.join(', ')}, not ${metric}`)
  for (const [metric, { warn, alarm }] of Object.entries({ ...metrics, [primary]: own })) {
    if (!known.some((each) => each === metric) || warn === undefined || alarm === undefined) continue
    const isHigher = higherIsBetter(metric as GateMetric)
    if (isHigher ? alarm > warn : alarm < warn)
      report(
        metric === primary ? 'monitor.quality' : `monitor.quality.metrics.${metric}`,
        `of ${metric}, a ${isHigher ? 'lower' : 'higher'} value is worse, so alarm (${alarm}) is not ${isHigher ? 'above' : 'below'} warn (${warn})`,
      )
  }
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
