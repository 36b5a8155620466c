/** Computes the evidence of the sequential tests in one call, over complete lists of ticks or counts. */
import {
  isRateTick,
  oneArmRateTest,
  type RateTick,
  ratioGrid,
  type TwoArmRateOptions,
  twoArmRateTest,
} from '@tenure/sequential'

type RateEvidence =
  | { status: 'ok'; logE: number[]; maxLogE: number }
  | { status: 'no_data' | 'invalid'; logE: number[]; maxLogE: null }

/** The log evidence of the two-arm rate test after each tick, without restarts. */
export function rateEvidence(ticks: readonly RateTick[], options: TwoArmRateOptions = {}): RateEvidence {
  const { ratio = 1, grid = ratioGrid } = options
  const readable =
    Number.isFinite(ratio) && ratio > 0 && grid.length > 0 && grid.every((r) => Number.isFinite(r) && r > 0)
  if (!readable || !ticks.every(isRateTick)) return { status: 'invalid', logE: [], maxLogE: null }
  if (ticks.length === 0) return { status: 'no_data', logE: [], maxLogE: null }
  const test = twoArmRateTest(options)
  const logE = ticks.map((tick) => {
    test.add(tick)
    return test.plainLogE()
  })
  return { status: 'ok', logE, maxLogE: Math.max(...logE) }
}

/** The log evidence of the one-arm rate test after `events` failures in `total` requests; null unless 0 ≤ events ≤ total and 0 < limit < 0.95. */
export function guardEvidence(total: number, events: number, limit: number): number | null {
  const readable = Number.isFinite(total) && events >= 0 && events <= total && limit > 0 && limit < 0.95
  if (!readable) return null
  const test = oneArmRateTest(limit)
  test.add(total, events)
  return test.plainLogE()
}
