/** Compiles the `drill` of a release into the policy of its drills; absent fields take the defaults. */
import { defaultDrill, type DrillKind, type DrillPolicy } from '../../../domain/drill.ts'
import type { Duration, DurationReader } from '../duration.ts'
import { fieldNames } from '../fields.ts'

/** The drills of the model. */
export interface DrillSpec {
  /** The interval. Default: 30 days, unless `cron` is set. */
  every?: Duration
  /** A cron expression in UTC instead of an interval. */
  cron?: string
  /** The kinds of drills. Default: all. */
  kinds?: readonly DrillKind[]
  /** Default: `mirrored`, in which callers never receive predictions of the candidate. */
  traffic?: DrillPolicy['traffic']
  /** The share of the traffic, or of the copied requests, in percent. Default: 10. */
  percent?: number
  /** The number of failed requests that one drill may cause. */
  harmBudget?: number
  /** The time after which the drill fails. Default: 10 min. */
  within?: Duration
}

export const drillFields = fieldNames<DrillSpec>({
  every: 0,
  cron: 0,
  kinds: 0,
  traffic: 0,
  percent: 0,
  harmBudget: 0,
  within: 0,
})

export function compileDrill(
  at: DurationReader,
  { every, cron, kinds, percent: share, within, ...rest }: DrillSpec,
): DrillPolicy {
  return {
    ...defaultDrill,
    ...rest,
    everyMs: at('drill.every', every, cron === undefined ? defaultDrill.everyMs : undefined),
    cron,
    kinds: [...(kinds ?? defaultDrill.kinds)],
    shareBp: share === undefined ? defaultDrill.shareBp : Math.round(share * 100),
    withinMs: at('drill.within', within, defaultDrill.withinMs),
  }
}
