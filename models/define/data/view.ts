/** Defines feature views. A view is part of a model file or a file in `models/views`; the model that uses it reports its issues. */
import { createHash } from 'node:crypto'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import { storedKind, type Features } from '../../../domain/model/features.ts'
import { isRemoteFile } from '../../../domain/addresses/source-address.ts'
import { durationAt, type Duration } from '../duration.ts'
import { checkFeatures } from './features.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import { collectIssues, shapeProblem, type IssueCollector } from '../issues.ts'
import { compileSource, identifier, type SourceSpec } from './source.ts'

export interface ViewFile<V extends Features> {
  /** A description for readers. */
  about?: string
  /** The columns that identify an entity: `'airport'`, or several. */
  entity: string | readonly string[]
  /** The source. `rows` returns one row per value; `eventTime` is the time of the value. */
  source: SourceSpec
  /** The column with the time at which a row became known. The value is not used before. */
  knownAt: string
  /** The columns that models can use as features. */
  values: V
  /** The maximum age of a value. */
  timeToLive: Duration
  /** The interval of the ingestion. Default: 5 min. */
  every?: Duration
  /** How late a row may arrive after its `knownAt`. Default: 1 h. It is usable from its ingestion. */
  late?: Duration
  /** How much older than the newest event values are kept. Default: 400 d. */
  keep?: Duration
}

export interface FeatureViewHandle<V extends Features> {
  kind: 'tenure-view'
  definition: FeatureView
  features: V
  timeToLiveMs: number
  issues: readonly string[]
}

const fields = fieldNames<ViewFile<Features>>({
  about: 0,
  entity: 0,
  source: 0,
  knownAt: 0,
  values: 0,
  timeToLive: 0,
  every: 0,
  late: 0,
  keep: 0,
})

export const listOf = (given: string | readonly string[]): string[] =>
  typeof given === 'string' ? [given] : [...given]

/** Defines the values of an entity that change over time. Never throws: the models that use the view report its issues. */
export function view<const V extends Features>(name: string, file: ViewFile<V>): FeatureViewHandle<V> {
  const { report, issues } = collectIssues()
  const place: IssueCollector = (field, message) => report(`views.${String(name)}.${field}`, message)
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,62}$/.test(name))
    place('name', 'up to 63 lower-case letters, digits and hyphens, beginning with a letter')
  reportUnknown(report, `views.${String(name)}`, file, fields)
  const lower = <T>(field: string, otherwise: T, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      place(field, shapeProblem(error, (file as unknown as Record<string, unknown>)[field]))
      return otherwise
    }
  }
  const duration = (field: keyof ViewFile<V>, fallback: Duration): number =>
    durationAt(place, String(field), (file[field] as Duration | undefined) ?? fallback)
  const entity = lower('entity', [], () => listOf(file.entity))
  const source = lower('source', { kind: 'csv' as const, files: {}, rows: '' }, () =>
    compileRows(place, file.source),
  )
  const columns = { entity, eventTime: [file.source?.options?.eventTime], knownAt: [file.knownAt] }
  for (const [field, names] of Object.entries(columns)) {
    if (names.length === 0) place(field, 'at least one column is required')
    for (const column of names)
      if (typeof column !== 'string' || !identifier.test(column))
        place(
          field === 'eventTime' ? 'source.eventTime' : field,
          `the name of a column is required, not ${JSON.stringify(column)}`,
        )
  }
  if (file.timeToLive === undefined) place('timeToLive', 'is missing: set the maximum age of a value')
  const features = lower('values', {} as V, () => checkValues(place, file.values))
  const definition = {
    source,
    entity,
    eventTime: String(file.source?.options?.eventTime),
    knownAt: String(file.knownAt),
    values: Object.fromEntries(
      Object.entries(features).map(([value, feature]) => [value, storedKind(feature)]),
    ),
  }
  const digest = createHash('sha256')
    .update(canonicalJson({ name, ...definition }))
    .digest('hex')
  return {
    kind: 'tenure-view',
    definition: {
      name,
      about: file.about === undefined ? undefined : String(file.about).trim(),
      digest: `sha256:${digest}`,
      ...definition,
      everyMs: duration('every', '5 min'),
      lateMs: duration('late', '1 h'),
      keepMs: duration('keep', '400 d'),
    },
    features,
    timeToLiveMs: file.timeToLive === undefined ? 1 : duration('timeToLive', file.timeToLive),
    issues,
  }
}

function compileRows(report: IssueCollector, spec: SourceSpec): FeatureView['source'] {
  const { kind, files, rows, database, program } = compileSource(report, spec)
  if (program !== undefined)
    report('source', 'program(…) is for models only: write csv(…), parquet(…) or postgres(…)')
  if (kind === 'served') {
    report('source', 'served(…) is for models only: write csv(…), parquet(…) or postgres(…)')
    return { kind: 'postgres', files, rows }
  }
  for (const file of Object.values(files))
    if (isRemoteFile(file))
      report('source', `a feature view reads files of the project, not ${JSON.stringify(file)}`)
  for (const word of ['derive', 'lookback', 'key'] as const)
    if (spec.options[word] !== undefined) report(`source.${word}`, 'is for models only: use rows')
  return { kind, files, rows, ...(database !== undefined && { database }) }
}

function checkValues<V extends Features>(report: IssueCollector, values: V): V {
  checkFeatures((place, message) => report(place.replace(/^features/, 'values'), message), values)
  for (const reserved of ['entity', 'event_at', 'known_at', 'usable_at'])
    if (reserved in values) report(`values.${reserved}`, 'is a name of the feature store itself')
  return values
}
