/**
 * Defines a source whose rows are the served requests of the model with their outcomes. A row holds the features of its request, so that a
 * feature is never computed differently than at prediction time.
 */
import type { LabelDefinition, ModelDefinition, ServedSource } from '../../../domain/model-definition.ts'
import { digestedFeatures, sentFeatures, type Features } from '../../../domain/model/features.ts'
import { digestReason } from '../../../domain/model/logged-rows.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'
import { numbersOf } from '../../../domain/tasks/tasks.ts'

export interface ServedOptions {
  /** The maximum age of requests. Default: the whole prediction log. */
  since?: Duration
  /**
   * The minimum age of a request: younger requests have only early outcomes, which are a biased sample. Default: the learnt age by which 95
   * % of outcomes have arrived.
   */
  matured?: Duration
  /**
   * When an outcome counts as known: when it `'arrived'` here, or when it was `'observed'` according to its sender, for outcomes loaded
   * long afterwards. Default: `'arrived'`.
   */
  knownAt?: 'arrived' | 'observed'
  /** The maximum number of requests, chosen by a hash of their ids. Default: 1,000,000. */
  maxRequests?: number
  /** The minimum number of rows with an outcome for a retraining. Default: 100. */
  minRows?: number
  /** DuckDB SQL over `known`, the rows with their outcomes, that computes the label or adds columns. */
  derive?: string
}

const fields = fieldNames<Omit<ServedOptions, 'derive'>>({
  since: 0,
  matured: 0,
  knownAt: 0,
  maxRequests: 0,
  minRows: 0,
})

/** The DuckDB table into which the rows are loaded. */
export const servedTable = 'served'

/** The columns of every served row in addition to the features. */
export const servedColumns = {
  predictionId: 'prediction_id',
  askedAt: 'asked_at',
  knownAt: 'known_at',
  /** The outcome as text: true or false, the class, the number, or several numbers as JSON, which are also separate columns. */
  outcome: 'outcome',
  /** The prediction: the probability, the number, the middle quantile, the class, or several numbers as JSON. */
  answer: 'answer',
  version: 'version',
  /** `champion`, `canary` or `control`; predictions of a shadow are excluded. */
  arm: 'arm',
  /**
   * The weight that corrects for missing outcomes: the number of requests with this prediction of this version per request with an outcome.
   */
  weight: 'selection_weight',
} as const

/** Present only if the model file names it, because it identifies a person. */
export const routingKeyColumn = 'routing_key'
export const hasRoutingKey = ({ subject, evaluation }: ModelDefinition): boolean =>
  subject === routingKeyColumn || evaluation.entity === routingKeyColumn

const defaultMaxRequests = 1_000_000
const defaultMinRows = 100

export function compileServed(report: IssueCollector, options: ServedOptions): ServedSource {
  reportUnknown(report, 'source', options, [...fields, 'derive'])
  const {
    since,
    matured,
    knownAt = 'arrived',
    maxRequests = defaultMaxRequests,
    minRows = defaultMinRows,
  } = options
  if (!['arrived', 'observed'].includes(knownAt))
    report('source.knownAt', `'arrived' or 'observed' is required, not ${JSON.stringify(knownAt)}`)
  for (const [name, value] of Object.entries({ maxRequests, minRows }))
    if (!(Number.isSafeInteger(value) && value > 0))
      report(`source.${name}`, `a whole number above 0 is required, not ${value}`)
  return {
    sinceMs: since === undefined ? undefined : durationAt(report, 'source.since', since),
    maturedMs: matured === undefined ? undefined : durationAt(report, 'source.matured', matured),
    knownAt,
    maxRequests,
    minRows,
  }
}

/** Returns the label with the time at which it became known. The model file must name the column; no outcome is used implicitly. */
export function labelOfServed(
  report: IssueCollector,
  { label, features, derive }: { label: LabelDefinition; features: Features; derive: string | undefined },
): LabelDefinition {
  const { outcome, knownAt } = servedColumns
  const taken: string[] = [...Object.values(servedColumns), routingKeyColumn]
  const numbers = numbersOf(label.output)
  if (numbers.length > 0) {
    // Each number is a separate column, unless `derive` computes it.
    for (const name of numbers)
      if (derive === undefined && taken.includes(String(name).toLowerCase()))
        report('label', `served rows have a column "${name}" of their own: give the number another name`)
  } else if (derive === undefined && label.column !== outcome)
    report(
      'label.column',
      `served rows have their outcome in the column "${outcome}", not "${label.column}": write column: '${outcome}', or make the column with derive`,
    )
  if (label.knownAt !== undefined && label.knownAt !== knownAt)
    report('label.knownAt', `of served rows it is "${knownAt}": leave it out`)
  const [digested] = digestedFeatures(sentFeatures(features))
  if (digested !== undefined)
    report(
      `features.${digested}.log`,
      `${digestReason([digested])}, so served rows have no value of it to train on: write log: 'value', or train from files or a table`,
    )
  for (const name of Object.keys(features))
    if (taken.includes(name.toLowerCase()))
      report(`features.${name}`, `served rows have a column of this name: give the feature another one`)
  return { ...label, knownAt }
}
