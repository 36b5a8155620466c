/** Simulates years of good champions under the watch, and counts what is told and what would be rolled back. */
import {
  freshWatch,
  judgeFormer,
  watchTick,
  watchTickMs,
  type WatchedTick,
  type WatchState,
} from '../../../domain/monitoring/champion-watch.ts'
import { defaultMonitorPolicy } from '../../../domain/monitoring/policy.ts'
import { binomial, poisson, seededRandom } from '@tenure/sequential'

const secondsATick = watchTickMs / 1_000
const minute = 60 / secondsATick
const day = 1_440 * minute
/** Whole days, so that each year has the same events. */
export const ticksAYear = 365 * day
const limit = defaultMonitorPolicy.service.errorAlarm
/** After a decision against a rollback, the next one is made after ten minutes. */
const decideAgain = 10 * minute
/** The newest failing requests that the former version answers. */
const kept = 200

interface Traffic {
  /** Requests of independent callers. */
  requests: number
  /** The share of them that fails by the champion's own chance. */
  rate: number
  /** Callers whose every request fails, whichever version answers. */
  hopeless?: number
}

export interface Pattern {
  name: string
  trafficOf: (tick: number) => Traffic
}

/** A good champion fails one request in 200 by chance: a quarter of the limit. */
const usual = 0.005
const steady = 2 * secondsATick

export const patterns: readonly Pattern[] = [
  {
    name: 'idle: a request every ten minutes',
    trafficOf: () => ({ requests: 1 / (10 * minute), rate: usual }),
  },
  { name: 'steady: 2 requests/s', trafficOf: () => ({ requests: steady, rate: usual }) },
  {
    name: 'bursts: 500 requests/s in one minute of each hour, else 0.1',
    trafficOf: (tick) => ({
      requests: (tick % (60 * minute) < minute ? 500 : 0.1) * secondsATick,
      rate: usual,
    }),
  },
  {
    name: 'storms: each day one caller fails at every request for ten minutes, beside 2 requests/s',
    trafficOf: (tick) => ({ requests: steady, rate: usual, hopeless: tick % day < 10 * minute ? 1 : 0 }),
  },
  {
    name: 'outages: each month every caller fails for ten minutes, whichever version answers',
    trafficOf: (tick) =>
      tick % (30 * day) < 10 * minute
        ? { requests: 0, rate: 0, hopeless: steady }
        : { requests: steady, rate: usual },
  },
  { name: 'on the limit: 2 requests/s, 2 % fail', trafficOf: () => ({ requests: steady, rate: limit }) },
]

export interface Years {
  /** How often the champion was told to fail. */
  told: number
  /** How often it would have been rolled back. */
  rolledBack: number
}

/** Runs one champion. The former version answers what failed by chance, and fails where every version does. */
export function simulateChampion({ trafficOf }: Pattern, ticks: number, seed: number): Years {
  const uniform = seededRandom(seed)
  const found: Years = { told: 0, rolledBack: 0 }
  let state = freshWatch(0)
  /** The newest failures: by chance, and of callers that fail at each version. */
  let failures = { chance: 0, hopeless: 0 }
  let decideAt = 0
  for (let tick = 0; tick < ticks; tick++) {
    const { requests: mean, rate, hopeless = 0 } = trafficOf(tick)
    const requests = poisson(uniform, mean)
    if (requests + hopeless === 0) continue
    const chance = binomial(uniform, requests, rate)
    failures = newest(failures, { chance, hopeless })
    const counted: WatchedTick = {
      endMs: (tick + 1) * watchTickMs,
      requests: requests + hopeless,
      failed: chance + hopeless,
      repeats: 0,
      slow: null,
    }
    const before: WatchState = state
    state = watchTick(state, counted, limit)
    // Only failures since the rate was last proven are compared.
    if (state.requests === 0) failures = { chance: 0, hopeless: 0 }
    if (!state.isFailing) continue
    if (!before.isFailing) {
      found.told++
      decideAt = tick
    }
    if (tick < decideAt) continue
    decideAt = tick + decideAgain
    const compared = { requests: failures.chance + failures.hopeless, formerFailed: failures.hopeless }
    if (!judgeFormer(compared, { to: 'the former version', callers: state.callers }).isBetter) continue
    found.rolledBack++
    state = freshWatch(counted.endMs)
  }
  return found
}

/** The newest failures that are kept: an older one makes room in proportion. */
function newest(
  before: { chance: number; hopeless: number },
  more: { chance: number; hopeless: number },
): { chance: number; hopeless: number } {
  const over = before.chance + before.hopeless + more.chance + more.hopeless - kept
  if (over <= 0) return { chance: before.chance + more.chance, hopeless: before.hopeless + more.hopeless }
  const left = 1 - Math.min(1, over / Math.max(1, before.chance + before.hopeless))
  return {
    chance: Math.round(before.chance * left) + more.chance,
    hopeless: Math.round(before.hopeless * left) + more.hopeless,
  }
}

/** Runs a champion for each year, from seeds of their own. */
export function simulateYears(pattern: Pattern, years: number, seed: number): Years {
  const found: Years = { told: 0, rolledBack: 0 }
  for (let year = 0; year < years; year++) {
    const { told, rolledBack } = simulateChampion(pattern, ticksAYear, seed * 10_007 + year)
    found.told += told
    found.rolledBack += rolledBack
  }
  return found
}

interface Fault {
  /** Requests per second. */
  rate: number
  draws: number
  seed: number
}

/** Seconds from a fault to the tick that proves it. The champion was good for an hour before. */
export const delaysOf = ({ share, ...fault }: Fault & { share: number }): number[] =>
  delays(
    fault,
    ({ isFailing }) => isFailing,
    (uniform, requests, isFaulty) => ({
      failed: binomial(uniform, requests, isFaulty ? share : usual),
      slow: null,
    }),
  )

/**
 * The same for latencies that triple. Latencies are log-normal with a standard deviation of 0.5, so that three times the median is at their
 * 98.6th percentile, and 44.9 % exceed the former 99th percentile.
 */
export const slowDelays = (fault: Fault): number[] =>
  delays(
    fault,
    ({ isSlow }) => isSlow,
    (uniform, requests, isFaulty) => ({
      failed: 0,
      slow: binomial(uniform, requests, isFaulty ? 0.449 : 0.01),
    }),
  )

function delays(
  { rate, draws, seed }: Fault,
  isProven: (state: WatchState) => boolean,
  countsOf: (
    uniform: () => number,
    requests: number,
    isFaulty: boolean,
  ) => Pick<WatchedTick, 'failed' | 'slow'>,
): number[] {
  return Array.from({ length: draws }, (_, draw) => {
    const uniform = seededRandom(seed * 7_919 + draw)
    let state = freshWatch(0)
    const hour = 60 * minute
    // The fault begins within a tick.
    const begins = hour + uniform()
    for (let tick = 0; ; tick++) {
      const isFaulty = tick >= hour
      const requests = poisson(uniform, rate * secondsATick * (tick === hour ? 1 - (begins % 1) : 1))
      if (requests === 0) continue
      const counts = countsOf(uniform, requests, isFaulty)
      state = watchTick(state, { endMs: (tick + 1) * watchTickMs, requests, repeats: 0, ...counts }, limit)
      if (isFaulty && isProven(state)) return (tick + 1 - begins) * secondsATick
      if (tick > 100 * hour) return Infinity
    }
  })
}
