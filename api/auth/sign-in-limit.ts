import { paceOnTimeMs, paceWaitMs, type Pace } from './pace.ts'

/** Limits failed sign-in attempts per key and per address: ten at once, then one every six seconds. */
export interface Attempts {
  /** Returns the seconds until another failed attempt with this key, or from this address, is allowed; 0 when it is allowed now. */
  waitS(tried: string | undefined): number
  failed(tried: string | undefined): void
  /** Takes back a failure that was counted before its end was known. */
  succeeded(tried: string | undefined): void
}

const pace: Pace = { stepMs: 6_000, burst: 10 }
/** Limits the memory. Above it, all attempts are forgotten. */
const maxTried = 10_000

export function createAttempts(nowMs: () => number = () => performance.now()): Attempts {
  /** The time from which the next attempt is within the limit, by key or address. */
  const onTime = new Map<string, number>()
  const onTimeOf = (tried: string) => onTime.get(tried) ?? 0
  return {
    waitS: (tried = '') => Math.ceil(paceWaitMs(pace, onTimeOf(tried), nowMs()) / 1_000),
    failed(tried = '') {
      if (onTime.size >= maxTried && !onTime.has(tried)) onTime.clear()
      onTime.set(tried, paceOnTimeMs(pace, onTimeOf(tried), nowMs()))
    },
    succeeded(tried = '') {
      onTime.set(tried, onTimeOf(tried) - pace.stepMs)
    },
  }
}
