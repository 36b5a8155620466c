/**
 * Feature views in a data scientist's words. A view may stand in a model file or in a file of its own under `models/views`; all
 * that is wrong with it is told with the model that uses it.
 */
import { createHash } from 'node:crypto'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import type { FeatureView } from '../../../domain/model/feature-view.ts'
import type { Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { checkFeatures } from './features.ts'
import { collectIssues, type IssueCollector } from '../issues.ts'
import { compileSource, type SourceSpec } from './source.ts'

export interface ViewFile<V extends Features> {
  /** What a reader should know of it. */
  about?: string
  /** The columns that name an entity: `'airport'`, or several. */
  entity: string | readonly string[]
  /** Its `rows` give one row a value, its `eventTime` the time that the value is about. */
  source: SourceSpec
  /** The column with the time at which a row became known. Nothing sees it before. */
  knownAt: string
  /** The columns that features of models can be. */
  values: V
  /** An older value is none. */
  timeToLive: Duration
  /** How often what is new is taken in: 5 min. */
  every?: Duration
  /** How late a row may come, by its `knownAt`, and still be found: 1 h. It is usable from when it was found. */
  late?: Duration
  /** Older values are forgotten: 400 d. */
  keep?: Duration
}

export interface FeatureViewHandle<V extends Features> {
  kind: 'tenure-view'
  definition: FeatureView
  features: V
  timeToLiveMs: number
  issues: readonly string[]
}

export const listOf = (given: string | readonly string[]): string[] =>
  typeof given === 'string' ? [given] : [...given]
export const identifier = /^[A-Za-z][A-Za-z0-9_]*$/

/** Values of an entity that change over time. Never throws: what is wrong is told by the models that use it. */
export function view<const V extends Features>(name: string, file: ViewFile<V>): FeatureViewHandle<V> {
  const { report, issues } = collectIssues()
  const at =
    (place: string): IssueCollector =>
    (field, message) =>
      report(`${place}.${field}`, message)
  const place = at(`views.${String(name)}`)
  if (typeof name !== 'string' || !/^[a-z][a-z0-9-]{0,62}$/.test(name))
    place('name', 'up to 63 lower-case letters, digits and hyphens, beginning with a letter')
  const lower = <T>(field: string, otherwise: T, work: () => T): T => {
    try {
      return work()
    } catch (error) {
      place(field, `is not of the shape that is wanted: ${error instanceof Error ? error.message : error}`)
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
    if (names.length === 0) place(field, 'at least one column is wanted')
    for (const column of names)
      if (typeof column !== 'string' || !identifier.test(column))
        place(
          field === 'eventTime' ? 'source.eventTime' : field,
          `the name of a column is wanted, not ${JSON.stringify(column)}`,
        )
  }
  if (file.timeToLive === undefined) place('timeToLive', 'is missing: how old may a value be?')
  const features = lower('values', {} as V, () => checkValues(place, file.values))
  const definition = {
    source,
    entity,
    eventTime: String(file.source?.options?.eventTime),
    knownAt: String(file.knownAt),
    values: Object.fromEntries(Object.entries(features).map(([value, { kind }]) => [value, kind])),
  }
  return {
    kind: 'tenure-view',
    definition: {
      name,
      about: file.about === undefined ? undefined : String(file.about).trim(),
      digest: `sha256:${createHash('sha256')
        .update(canonicalJson({ name, ...definition }))
        .digest('hex')}`,
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
  const { kind, files, rows } = compileSource(report, spec)
  for (const word of ['derive', 'lookback', 'key'] as const)
    if (spec.options[word] !== undefined)
      report(`source.${word}`, 'is for models: a view says all of it in rows')
  return { kind, files, rows }
}

function checkValues<V extends Features>(report: IssueCollector, values: V): V {
  checkFeatures((place, message) => report(place.replace(/^features/, 'values'), message), values)
  for (const reserved of ['entity', 'event_at', 'known_at', 'usable_at'])
    if (reserved in values) report(`values.${reserved}`, 'is a name of the feature store itself')
  return values
}
