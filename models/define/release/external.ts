/** Compiles the `external` of a release: metrics that other systems measure for each arm. */
import type { ExternalKind, ExternalMetric } from '../../../domain/canary/external/external-policy.ts'
import { durationsIn, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface ExternalOptions {
  /** Higher values count as this, so that one extreme window does not decide. Required. */
  max: number
  /** Lower values count as this. Default: 0. */
  min?: number
  /** The highest allowed value, or the lowest if higher is better. Default: the candidate is compared with the control. */
  limit?: number
  /** How much worse than the control still counts as not worse. Default: 0.1, a tenth. */
  tolerance?: number
  /** Whether lower values are better, such as complaints. Default: true. */
  lowerIsBetter?: boolean
  /** The length of a window, which is queried once. Default: 1 min. */
  every?: Duration
  /** The delay after the end of a window until the source has all its data. Default: 30 s. */
  delay?: Duration
  /** The minimum number of requests of an arm; windows with fewer are not queried. Default: 20. */
  minRequests?: number
  /** The effect of a proven loss: `rollback`, or `ask` an approver. Default: `rollback`. */
  action?: 'rollback' | 'ask'
  /**
   * What happens while a source returns no value: `ask` holds the release and asks an approver after three windows, `hold` only holds it,
   * `ignore` does neither. Default: `ask`.
   */
  onError?: 'ask' | 'hold' | 'ignore'
}

export interface ExternalSpec extends ExternalOptions {
  kind: ExternalKind
  source: string
  query: string
}

/** Queries Prometheus for one series or a scalar, with `$version`, `$arm`, `$model` and `$window`. */
export const promql = (source: string, query: string, options: ExternalOptions): ExternalSpec => ({
  ...options,
  kind: 'promql',
  source,
  query,
})

/** Queries another Postgres for one number, with `$version`, `$arm`, `$model`, `$from` and `$to`. */
export const sqlQuery = (source: string, query: string, options: ExternalOptions): ExternalSpec => ({
  ...options,
  kind: 'sql',
  source,
  query,
})

/** Posts metric, model, version, arm, from and to; the response is `{ "value": number }`. */
export const webhook = (source: string, metric: string, options: ExternalOptions): ExternalSpec => ({
  ...options,
  kind: 'webhook',
  source,
  query: metric,
})

const fields = fieldNames<ExternalSpec>({
  kind: 0,
  source: 0,
  query: 0,
  max: 0,
  min: 0,
  limit: 0,
  tolerance: 0,
  lowerIsBetter: 0,
  every: 0,
  delay: 0,
  minRequests: 0,
  action: 0,
  onError: 0,
})

/** Compiles the metrics. The domain validates the values. */
export function compileExternal(
  report: IssueCollector,
  external: Readonly<Record<string, ExternalSpec>>,
): Record<string, ExternalMetric> {
  return Object.fromEntries(
    Object.entries(external).map(([name, spec]) => {
      reportUnknown(report, `release.external.${name}`, spec, fields)
      const at = durationsIn(report, `release.external.${name}`)
      const { every, delay, min = 0, max, limit, tolerance = 0.1, ...given } = spec
      const { kind, source, query, lowerIsBetter = true, minRequests = 20 } = given
      const { action = 'rollback', onError = 'ask' } = given
      return [
        name,
        {
          kind,
          source,
          query,
          limit,
          tolerance,
          min,
          max,
          lowerIsBetter,
          everyMs: at('every', every, 60_000),
          delayMs: at('delay', delay, 30_000),
          minRequests,
          action,
          onError,
        },
      ]
    }),
  )
}
