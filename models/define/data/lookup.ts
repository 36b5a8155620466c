/** Defines features that come from feature views, and checks how a model uses them. */
import type { FeatureOrigin, FeatureView } from '../../../domain/model/feature-view.ts'
import { counted } from '../../../domain/figures.ts'
import type { Feature, Features } from '../../../domain/model/features.ts'
import { durationAt, type Duration } from '../duration.ts'
import { collectIssues, type IssueCollector } from '../issues.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import { identifier } from './source.ts'
import { listOf, type FeatureViewHandle } from './view.ts'

export interface LookupOptions {
  /** The fields of a row that identify the entity, if their names differ from those of the view. */
  by?: string | readonly string[]
  /** The value if none is known, in training and in serving. Default: null, imputed as fitted in training. */
  otherwise?: number | string
  /** The maximum age of a value cached by a replica. Default: 1 min. */
  fresh?: Duration
  /** How long a request waits for a value that is not cached. Default: 20 ms. */
  within?: Duration
}

const optionNames = fieldNames<LookupOptions>({ by: 0, otherwise: 0, fresh: 0, within: 0 })

type Looked<F, O> = O extends { otherwise: number | string }
  ? Omit<F, 'missing'> & { from: FeatureOrigin }
  : Omit<F, 'missing'> & { missing: 'fill'; from: FeatureOrigin }

const views = new WeakMap<object, { view: FeatureViewHandle<Features>; issues: string[] }>()

/**
 * Defines a feature that is looked up in a view, so that callers need not send it: `lookup(airportDelays, 'mean', { by: 'origin' })`.
 * Training rows get the value that was known at the time of each row.
 */
export function lookup<
  V extends Features,
  K extends keyof V & string,
  const O extends LookupOptions = Record<never, never>,
>(of: FeatureViewHandle<V>, value: K, options: O = {} as O): Looked<V[K], O> {
  const { report, issues } = collectIssues()
  const { definition, features, timeToLiveMs } = of
  reportUnknown(report, 'lookup', options, optionNames)
  const feature = features[value]
  const names = Object.keys(features).join(', ')
  if (feature === undefined)
    report('value', `${definition.name} has no value ${JSON.stringify(value)}, but ${names}`)
  const { otherwise } = options
  const type = feature === undefined || feature.kind === 'number' ? 'number' : 'string'
  if (otherwise !== undefined && (typeof otherwise !== type || otherwise !== otherwise))
    report(
      'otherwise',
      `a ${type === 'string' ? 'text' : type} is required, not ${JSON.stringify(otherwise)}`,
    )
  if (feature?.kind === 'category' && feature.values !== undefined && otherwise !== undefined)
    if (!feature.values.includes(String(otherwise))) report('otherwise', 'is not a declared value')
  const by = options.by === undefined ? definition.entity : listOf(options.by)
  const { length } = definition.entity
  if (by.length !== length)
    report('by', `an entity of ${definition.name} is named by ${counted(length, 'field')}, not ${by.length}`)
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
      otherwise,
    },
  }
  views.set(made, { view: of as unknown as FeatureViewHandle<Features>, issues })
  return made as unknown as Looked<V[K], O>
}

/** Returns the views of a model's features. Reports the issues of the views and of their use. */
export function compileViews(
  report: IssueCollector,
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
      report('source.eventTime', `is required: ${name} is joined as it was known at the time of a row`)
  }
  return [...used.values()]
}
