/** Compiles the metrics that a model file defines as functions. Their direction is data; the functions stay in the file. */
import type { MetricAnswer, MetricFunctions } from '../../domain/evaluation/custom-metrics.ts'
import { marginIssue, type CustomMetricPolicy, type Margin } from '../../domain/evaluation/policy.ts'
import { fieldNames, reportUnknown } from './fields.ts'
import type { IssueCollector } from './issues.ts'

export interface MetricSpec {
  /**
   * Computes the value on some rows. `y` holds 0 or 1, the index of the class, or the number; `answers` holds the probability, the list of
   * probabilities, or the number. Called for each bootstrap resample too.
   */
  of: (y: readonly number[], answers: readonly MetricAnswer[]) => number
  /** The direction in which the metric improves. */
  better: 'higher' | 'lower'
}

const fields = fieldNames<MetricSpec>({ of: 0, better: 0 })

/** The other fields of `evaluation` that name metrics. */
interface Limits {
  primary?: string
  /** Of the primary metric. */
  margin?: Margin
  guards?: readonly string[]
  floors?: Readonly<Record<string, number | undefined>>
  margins?: Readonly<Record<string, Margin | undefined>>
  /** The metrics of the task. */
  known: readonly string[]
}

export function compileMetrics(
  report: IssueCollector,
  specs: Readonly<Record<string, MetricSpec>> | undefined,
  { primary, margin: marginOfPrimary, guards = [], floors = {}, margins = {}, known }: Limits,
): Record<string, CustomMetricPolicy> {
  const compiled: Record<string, CustomMetricPolicy> = {}
  for (const [name, spec] of Object.entries(specs ?? {})) {
    const place = `evaluation.metrics.${name}`
    if (!/^[a-z][a-zA-Z0-9]{0,39}$/.test(name))
      report(place, 'a name has up to 40 letters and digits and begins with a small letter')
    if (known.includes(name)) report(place, `the gate has a metric ${name} already: choose another name`)
    if (typeof spec !== 'object' || spec === null || typeof spec.of !== 'function') {
      report(place, "{ of: (y, answers) => number, better: 'lower' } is required")
      continue
    }
    reportUnknown(report, place, spec, fields)
    const { better } = spec
    if (better !== 'higher' && better !== 'lower')
      report(`${place}.better`, `'higher' or 'lower' is required, not ${JSON.stringify(better)}`)
    const isPrimary = name === primary
    const [floor, margin] = [floors[name], (isPrimary ? marginOfPrimary : undefined) ?? margins[name]]
    if (floor !== undefined && !Number.isFinite(floor))
      report(`evaluation.floors.${name}`, `a finite number is required, not ${floor}`)
    const issue = margin === undefined ? undefined : marginIssue(name, margin)
    if (issue !== undefined)
      report(`evaluation.${isPrimary && marginOfPrimary !== undefined ? 'margin' : `margins.${name}`}`, issue)
    compiled[name] = { better, guard: !isPrimary && guards.includes(name), floor, margin }
  }
  return compiled
}

/** Returns the functions of `evaluation.metrics`. Skips an invalid one, which already has an issue. */
export function metricFunctions(specs: Readonly<Record<string, MetricSpec>> | undefined): MetricFunctions {
  return Object.fromEntries(Object.entries(specs ?? {}).map(([name, { of }]) => [name, of]))
}
