/** Compiles the `business` of a release: what users do after their first request, reported by `POST /v1/events`. */
import type { BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { durationsIn, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface EventOptions {
  /**
   * How the events of a user count: the `total` of their values; whether there is `any` event, such as a conversion; or the `mean` of their
   * values, such as a rating, over users with an event only. Default: `total`.
   */
  counts?: 'total' | 'any' | 'mean'
  /** Lower values of a user count as this. Default: 0. */
  min?: number
  /** Higher values of a user count as this, so that one large purchase does not decide. Required unless `counts` is `any`. */
  max?: number
  /** How long after a user's first request events count. Default: 30 min. */
  within?: Duration
  /** The maximum delay until an event arrives, after which a user is counted. Default: 1 min. */
  delay?: Duration
  /** Whether lower values are better, such as refunds. Default: false. */
  lowerIsBetter?: boolean
  /** The effect of a proven loss: `rollback`, or `ask` an approver. Default: `rollback`. */
  action?: 'rollback' | 'ask'
  /** Requires proof, before the promotion, that the mean is not worse by more than this share: 0.05 is 5 %. */
  notWorse?: number
  /** Whether to require proof, before the promotion, that the mean is better. Default: false. */
  better?: boolean
}

export interface EventSpec extends EventOptions {
  event: string
}

/** Defines a metric of user events: `event('purchase', { max: 500 })`, `event('signup', { counts: 'any', notWorse: 0.05 })`. */
export const event = (name: string, options: EventOptions = {}): EventSpec => ({ ...options, event: name })

const fields = fieldNames<EventSpec>({
  event: 0,
  counts: 0,
  min: 0,
  max: 0,
  within: 0,
  delay: 0,
  lowerIsBetter: 0,
  action: 0,
  notWorse: 0,
  better: 0,
})

/** Compiles the metrics. The domain validates the values. */
export function compileBusiness(
  report: IssueCollector,
  business: Readonly<Record<string, EventSpec>>,
): Record<string, BusinessMetric> {
  return Object.fromEntries(
    Object.entries(business).map(([name, spec]) => {
      reportUnknown(report, `release.business.${name}`, spec, fields)
      const at = durationsIn(report, `release.business.${name}`)
      const { counts = 'total', within, delay, lowerIsBetter = false, action = 'rollback', ...given } = spec
      const { min = 0, max = counts === 'any' ? 1 : NaN, notWorse, better } = given
      if (Number.isNaN(max))
        report(
          `release.business.${name}`,
          'max is missing: the largest value of a user that counts, such as 500',
        )
      return [
        name,
        {
          event: spec.event,
          counts,
          min,
          max: Number.isNaN(max) ? min + 1 : max,
          withinMs: at('within', within, 1_800_000),
          delayMs: at('delay', delay, 60_000),
          lowerIsBetter,
          action,
          notWorse,
          better,
        },
      ]
    }),
  )
}
