/** Limits failed sign-in attempts per key and per address: ten at once, then one every six seconds. */
export interface Attempts {
  /** Returns the seconds until another failed attempt with this key, or from this address, is allowed; 0 when it is allowed now. */
  waitS(tried: string | undefined): number
  failed(tried: string | undefined): void
  /** Takes back a failure that was counted before its end was known. */
  succeeded(tried: string | undefined): void
}

const burst = 10
const everyMs = 6_000
/** Limits the memory. Above it, all attempts are forgotten. */
const maxTried = 10_000

export function createAttempts(now: () => number = () => performance.now()): Attempts {
  /** The time from which the next attempt is within the limit, by key or address. */
  const onTime = new Map<string, number>()
  /** Whole, because the rounding of sums could take the last attempt of a burst. */
  const nowMs = () => Math.floor(now())
  return {
    waitS(tried = '') {
      const aheadMs = (onTime.get(tried) ?? 0) - nowMs() - (burst - 1) * everyMs
      return Math.max(0, Math.ceil(aheadMs / 1_000))
    },
    failed(tried = '') {
      if (onTime.size >= maxTried && !onTime.has(tried)) onTime.clear()
      onTime.set(tried, Math.max(onTime.get(tried) ?? 0, nowMs()) + everyMs)
    },
    succeeded(tried = '') {
      onTime.set(tried, (onTime.get(tried) ?? 0) - everyMs)
    },
  }
}
