/**
 * Defines a source whose rows are the answered requests of the model with their outcomes. A row is what the model was asked, so a
 * feature is never computed in another way than at prediction time.
 */
import type { LabelDefinition, ServedSource } from '../../../domain/model-definition.ts'
import type { Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface ServedOptions {
  /** How far back requests count; as far as the prediction log goes when absent. */
  since?: Duration
  /**
   * The age from which a request counts: of younger ones only the early outcomes are known, which are a biased sample. When absent it is
   * learnt, as the age by which 95 % of outcomes have arrived.
   */
  matured?: Duration
  /**
   * When an outcome was known: when it `'arrived'` here, or when it was `'observed'`, as its sender said, for outcomes that were loaded
   * long after. `'arrived'` when absent.
   */
  knownAt?: 'arrived' | 'observed'
  /** At most this many requests, chosen by a hash of their ids; 1,000,000 when absent. */
  maxRequests?: number
  /** The fewest rows with an outcome that a retraining starts with; 100 when absent. */
  minRows?: number
  /** DuckDB SQL over `known`, the rows with their outcomes, that makes the label or adds columns. */
  derive?: string
}

const fields = fieldNames<Omit<ServedOptions, 'derive'>>({
  since: 0,
  matured: 0,
  knownAt: 0,
  maxRequests: 0,
  minRows: 0,
})

/** The DuckDB table that the rows are loaded into. */
export const servedTable = 'served'

/** The columns of every served row beside the features. */
export const servedColumns = {
  predictionId: 'prediction_id',
  askedAt: 'asked_at',
  knownAt: 'known_at',
  /** As text: true or false, the class, the number, or several numbers as JSON, which are columns of their own too. */
  outcome: 'outcome',
  /** What was answered: the probability, the number, the middle quantile, the class, or several numbers as JSON. */
  answer: 'answer',
  version: 'version',
  /** `champion`, `canary` or `control`; the answers of a shadow are no rows. */
  arm: 'arm',
  /** Of the requests with such an answer of such a version, how many there are for each one with an outcome. */
  weight: 'selection_weight',
} as const

/** Only where the model file names it, because it identifies a person. */
export const routingKeyColumn = 'routing_key'

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

/** The label with the time at which it became known. The model file must say which column it is: no outcome is taken for it in silence. */
export function labelOfServed(
  report: IssueCollector,
  { label, features, derive }: { label: LabelDefinition; features: Features; derive: string | undefined },
): LabelDefinition {
  const { outcome, knownAt } = servedColumns
  const taken: string[] = [...Object.values(servedColumns), routingKeyColumn]
  if (label.output.kind === 'numbers') {
    // Each is a column of its own, unless derive makes it.
    for (const name of label.output.names)
      if (derive === undefined && taken.includes(String(name).toLowerCase()))
        report('label', `served rows have a column "${name}" of their own: give the number another name`)
  } else if (derive === undefined && label.column !== outcome)
    report(
      'label.column',
      `served rows have their outcome in the column "${outcome}", not "${label.column}": write column: '${outcome}', or make the column with derive`,
    )
  if (label.knownAt !== undefined && label.knownAt !== knownAt)
    report('label.knownAt', `of served rows it is "${knownAt}": leave it out`)
  for (const name of Object.keys(features))
    if (taken.includes(name.toLowerCase()))
      report(`features.${name}`, `served rows have a column of this name: give the feature another one`)
  return { ...label, knownAt }
}
