/**
 * Feature views in a data scientist's words, and the features of a model that come from them. A view may stand in a model file or
 * in a file of its own under `models/views`; all that is wrong with it is told with the model that uses it.
 */
import { createHash } from 'node:crypto'
import { canonicalJson } from '../../domain/canonical.ts'
import type { FeatureOrigin, FeatureView } from '../../domain/feature-view.ts'
import type { Feature, Features } from '../../domain/features.ts'
import { durationAt, type Duration } from './duration.ts'
import { checkFeatures } from './features.ts'
import { collectIssues, type Report } from './report.ts'
import { lowerSource, type SourceSpec } from './source.ts'

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

export interface View<V extends Features> {
  kind: 'tenure-view'
  definition: FeatureView
  features: V
  timeToLiveMs: number
  issues: readonly string[]
}

export interface LookupOptions {
  /** The fields of a row that name the entity, where they are called otherwise than in the view. */
  by?: string | readonly string[]
  /** Stands in where there is no value, in training and in serving; null, filled in as fitted in training, when absent. */
  otherwise?: number | string
  /** A copy in the memory of a replica is not used when it was read longer ago: 1 min. */
  fresh?: Duration
  /** How long a request waits for a value that is not at hand: 20 ms. */
  within?: Duration
}

type Looked<F, O> = O extends { otherwise: number | string }
  ? Omit<F, 'missing'> & { from: FeatureOrigin }
  : Omit<F, 'missing'> & { missing: 'fill'; from: FeatureOrigin }

const listOf = (given: string | readonly string[]): string[] =>
  typeof given === 'string' ? [given] : [...given]
const identifier = /^[A-Za-z][A-Za-z0-9_]*$/

/** Values of an entity that change over time. Never throws: what is wrong is told by the models that use it. */
export function view<const V extends Features>(name: string, file: ViewFile<V>): View<V> {
  const { report, issues } = collectIssues()
  const at =
    (place: string): Report =>
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
  const duration = (field: keyof ViewFile<V>, usual: Duration): number =>
    durationAt(place, String(field), (file[field] as Duration | undefined) ?? usual)
  const entity = lower('entity', [], () => listOf(file.entity))
  const source = lower('source', { kind: 'csv' as const, files: {}, rows: '' }, () =>
    lowerRows(place, file.source),
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
      ...(file.about === undefined ? {} : { about: String(file.about).trim() }),
      digest: `sha256:${createHash('sha256').update(canonicalJson(definition)).digest('hex')}`,
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

function lowerRows(report: Report, spec: SourceSpec): FeatureView['source'] {
  const { kind, files, rows } = lowerSource(report, spec)
  for (const word of ['derive', 'lookback', 'key'] as const)
    if (spec.options[word] !== undefined)
      report(`source.${word}`, 'is for models: a view says all of it in rows')
  return { kind, files, rows }
}

function checkValues<V extends Features>(report: Report, values: V): V {
  checkFeatures((place, message) => report(place.replace(/^features/, 'values'), message), values)
  for (const reserved of ['entity', 'event_at', 'known_at', 'usable_at'])
    if (reserved in values) report(`values.${reserved}`, 'is a name of the feature store itself')
  return values
}

const views = new WeakMap<object, { view: View<Features>; issues: string[] }>()

/**
 * A feature that is looked up in a view, so that callers need not send it: `lookup(airportDelays, 'mean', { by: 'origin' })`. It
 * is joined to the training rows as it was known at the time of each.
 */
export function lookup<
  V extends Features,
  K extends keyof V & string,
  const O extends LookupOptions = Record<never, never>,
>(of: View<V>, value: K, options: O = {} as O): Looked<V[K], O> {
  const { report, issues } = collectIssues()
  const { definition, features, timeToLiveMs } = of
  const feature = features[value]
  if (feature === undefined)
    report(
      'value',
      `${definition.name} has no value ${JSON.stringify(value)}, but ${Object.keys(features).join(', ')}`,
    )
  const { otherwise } = options
  const wanted = feature?.kind === 'category' ? 'string' : 'number'
  if (otherwise !== undefined && (typeof otherwise !== wanted || otherwise !== otherwise))
    report(
      'otherwise',
      `a ${wanted === 'string' ? 'text' : 'number'} is wanted, not ${JSON.stringify(otherwise)}`,
    )
  if (feature?.kind === 'category' && feature.values !== undefined && otherwise !== undefined)
    if (!feature.values.includes(String(otherwise))) report('otherwise', 'is none of the declared values')
  const by = options.by === undefined ? definition.entity : listOf(options.by)
  if (by.length !== definition.entity.length)
    report(
      'by',
      `${definition.entity.length} field(s) name an entity of ${definition.name}, not ${by.length}`,
    )
  for (const field of by)
    if (!identifier.test(field))
      report('by', `a field has letters, digits and _ only, not ${JSON.stringify(field)}`)
  const { missing: _missing, ...plain } = (feature ?? { kind: 'number' }) as Feature
  const made = {
    ...plain,
    ...(otherwise === undefined ? { missing: 'fill' } : {}),
    from: {
      view: definition.name,
      digest: definition.digest,
      value,
      by,
      timeToLiveMs,
      freshMs: durationAt(report, 'fresh', options.fresh ?? '1 min'),
      withinMs: durationAt(report, 'within', options.within ?? '20 ms'),
      ...(otherwise === undefined ? {} : { otherwise }),
    },
  }
  views.set(made, { view: of as unknown as View<Features>, issues })
  return made as unknown as Looked<V[K], O>
}

/** The views of a model's features, with what is wrong with them and with how they are used. */
export function lowerViews(
  report: Report,
  features: Features,
  { eventTime }: { eventTime?: string | undefined },
): FeatureView[] {
  const used = new Map<string, FeatureView>()
  for (const [name, feature] of Object.entries(features)) {
    if (feature?.from === undefined) continue
    const made = views.get(feature)
    if (made === undefined) {
      report(`features.${name}.from`, 'made with lookup()')
      continue
    }
    for (const issue of made.issues) report(`features.${name}`, issue)
    const { definition, issues } = made.view
    const known = used.get(definition.name)
    if (known !== undefined && known.digest !== definition.digest)
      report(`features.${name}`, `there are two views ${definition.name} in one model`)
    if (known === undefined) for (const issue of issues) report(`features.${name}`, issue)
    used.set(definition.name, definition)
    for (const field of feature.from.by)
      if (features[field]?.from !== undefined)
        report(`features.${name}.by`, `${field} is looked up itself: an entity is named by what callers send`)
    if (eventTime === undefined)
      report('source.eventTime', `is wanted: ${name} is joined as it was known at the time of a row`)
  }
  return [...used.values()]
}
