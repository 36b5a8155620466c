/** Compiles the `business` of a release: what users do after their first request, as reported by `POST /v1/events`. */
import type { BusinessMetric } from '../../../domain/canary/business-policy.ts'
import { durationsIn, type Duration } from '../duration.ts'
import { fieldNames, reportUnknown } from '../fields.ts'
import type { IssueCollector } from '../issues.ts'

export interface EventOptions {
  /**
   * What counts of a user: the `total` of the values of its events, when absent; whether there is `any` event, such as a conversion; or
   * their `mean`, such as a rating, of users with an event only.
   */
  counts?: 'total' | 'any' | 'mean'
  /** A lower value of a user counts as this: 0. */
  min?: number
  /** A higher value of a user counts as this: one large purchase must not decide. Required unless `counts` is `any`. */
  max?: number
  /** How long after the first request of a user its events count: 30 min. */
  within?: Duration
  /** How long an event may take to arrive: 1 min. A user counts from then on. */
  delay?: Duration
  /** Whether lower values are better, such as refunds: false. */
  lowerIsBetter?: boolean
  /** What a proven loss does: `rollback`, when absent, or `ask` an approver. */
  action?: 'rollback' | 'ask'
  /** Also asks for the proof, before the promotion, that the mean is not worse by more than this share: 0.05 is 5 %. */
  notWorse?: number
  /** Also asks for the proof, before the promotion, that the mean is better: false. */
  better?: boolean
}

export interface EventSpec extends EventOptions {
  event: string
}

/** What users do: `event('purchase', { max: 500 })`, `event('signup', { counts: 'any', notWorse: 0.05 })`. */
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

/** The domain checks the values. */
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
