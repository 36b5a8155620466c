/**
 * Computes the distance to a decision: how many more failures roll a canary back, and how many clean requests prove that it may be
 * promoted.
 */
import { type RateTick, twoArmRateTest } from '@tenure/sequential'
import type { Verdict } from '../verdict.ts'
import { firstMass, promotionProof } from './arm-comparison.ts'
import type { ArmCounts } from './evidence.ts'
import type { PromotionPolicy, RateMetric } from './policy.ts'

/** The counts of one metric between consecutive verdicts, oldest first. A verdict holds totals since the canary began. */
export function rateTicks(verdicts: readonly Pick<Verdict, 'statistics'>[], metric: RateMetric): RateTick[] {
  let before: RateTick = { treatmentTotal: 0, controlTotal: 0, treatmentEvents: 0, controlEvents: 0 }
  return verdicts.map(({ statistics }) => {
    const [treatmentTotal, controlTotal] = [
      statistics['canaryRequests'] ?? 0,
      statistics['controlRequests'] ?? 0,
    ]
    const events = (total: number, rate: number | null | undefined) => Math.round(total * (rate ?? 0))
    const now: RateTick = {
      treatmentTotal,
      controlTotal,
      treatmentEvents: events(treatmentTotal, statistics[`${metric}Canary`]),
      controlEvents: events(controlTotal, statistics[`${metric}Control`]),
    }
    const added = (name: keyof RateTick) => Math.max(0, now[name] - before[name])
    const tick: RateTick = {
      treatmentTotal: added('treatmentTotal'),
      controlTotal: added('controlTotal'),
      treatmentEvents: added('treatmentEvents'),
      controlEvents: added('controlEvents'),
    }
    before = now
    return tick
  })
}

/** The first verdict after each `restartMs`, when the tests start again beside their older copies. */
export function restartsOf(timesMs: readonly number[], restartMs: number): Set<number> {
  const restarts = new Set<number>()
  let next = (timesMs[0] ?? 0) + restartMs
  for (const [i, atMs] of timesMs.entries()) {
    if (atMs < next) continue
    restarts.add(i)
    next += restartMs * (Math.floor((atMs - next) / restartMs) + 1)
  }
  return restarts
}

const totalOf = (ticks: readonly RateTick[], name: keyof RateTick): number =>
  ticks.reduce((sum, tick) => sum + tick[name], 0)

/** The next requests of the canary, with the control as it was so far. */
function nextTick(
  ticks: readonly RateTick[],
  { requests, events }: { requests: number; events: number },
): RateTick {
  const [canary, control] = [totalOf(ticks, 'treatmentTotal'), totalOf(ticks, 'controlTotal')]
  const controlTotal = canary === 0 ? requests : (requests * control) / canary
  const controlEvents = control === 0 ? 0 : (controlTotal * totalOf(ticks, 'controlEvents')) / control
  return { treatmentTotal: requests, controlTotal, treatmentEvents: events, controlEvents }
}

/** The smallest number of events in the next `requests` of the canary that rolls it back; undefined when even all of them do not. */
export function eventsToRollBack(
  ticks: readonly RateTick[],
  {
    ratio,
    logE,
    requests,
    restarts,
  }: { ratio: number; logE: number; requests: number; restarts?: ReadonlySet<number> },
): number | undefined {
  const evidence = (events: number): number => {
    const test = twoArmRateTest({ ratio, firstMass })
    for (const [i, tick] of [...ticks, nextTick(ticks, { requests, events })].entries()) {
      if (restarts?.has(i)) test.restart()
      test.add(tick)
    }
    return test.logE()
  }
  return least(requests, (events) => evidence(events) >= logE)
}

/** The evidence for promotion so far, and how many more clean requests complete it; undefined beyond `most`. */
export function cleanRequestsToProve(
  ticks: readonly RateTick[],
  { metric, promotion, most }: { metric: RateMetric; promotion: PromotionPolicy; most: number },
): { logE: number; requests: number | undefined } {
  const evidence = (requests: number): number => {
    const proof = promotionProof(metric, promotion)
    const more = requests === 0 ? [] : [nextTick(ticks, { requests, events: 0 })]
    for (const tick of [...ticks, ...more])
      proof.add({
        startMs: 0,
        shareBp: null,
        canary: armOf(metric, tick.treatmentTotal, tick.treatmentEvents),
        control: armOf(metric, tick.controlTotal, tick.controlEvents),
      })
    return proof.logE()
  }
  return { logE: evidence(0), requests: least(most, (requests) => evidence(requests) >= promotion.logE) }
}

const armOf = (metric: RateMetric, requests: number, events: number): ArmCounts => ({
  errors: 0,
  invalid: 0,
  slow95: 0,
  slow99: 0,
  requests,
  [metric]: events,
})

/** The smallest whole number up to `most` for which `holds`, which must then hold for all larger ones. */
function least(most: number, holds: (value: number) => boolean): number | undefined {
  if (!holds(most)) return undefined
  let [low, high] = [0, most]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if (holds(middle)) high = middle
    else low = middle + 1
  }
  return low
}
