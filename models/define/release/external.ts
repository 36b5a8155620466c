/** Compiles the `external` of a release: what other systems measure of each arm. */
import type { ExternalKind, ExternalMetric } from '../../../domain/canary/external/external-policy.ts'
import { durationsIn, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface ExternalOptions {
  /** The highest value that counts: one extreme window must not decide. Required. */
  max: number
  /** The lowest value that counts: 0. */
  min?: number
  /** The highest value that is allowed, or the lowest where higher is better. When absent, the candidate is compared with the control. */
  limit?: number
  /** How much worse than the control still counts as no worse: 0.1, a tenth. */
  tolerance?: number
  /** Whether lower values are better, such as complaints: true. */
  lowerIsBetter?: boolean
  /** The length of a window: 1 min. Each is asked for once. */
  every?: Duration
  /** How long after its end a window is complete at the source: 30 s. */
  delay?: Duration
  /** A window in which an arm has served fewer requests is not asked for: 20. */
  minRequests?: number
  /** What a proven loss does: `rollback`, when absent, or `ask` an approver. */
  action?: 'rollback' | 'ask'
  /** A source that gives no value holds the release, and after three windows asks an approver: `ask`. `hold` only holds it; `ignore` does not. */
  onError?: 'ask' | 'hold' | 'ignore'
}

export interface ExternalSpec extends ExternalOptions {
  kind: ExternalKind
  source: string
  query: string
}

/** A query of Prometheus for one series or a scalar, with `$version`, `$arm`, `$model` and `$window`. */
export const promql = (source: string, query: string, options: ExternalOptions): ExternalSpec => ({
  ...options,
  kind: 'promql',
  source,
  query,
})

/** A query of another Postgres for one number, with `$version`, `$arm`, `$model`, `$from` and `$to`. */
export const sqlQuery = (source: string, query: string, options: ExternalOptions): ExternalSpec => ({
  ...options,
  kind: 'sql',
  source,
  query,
})

/** A POST of metric, model, version, arm, from and to, answered by `{ "value": number }`. */
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

/** The domain checks the values. */
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
