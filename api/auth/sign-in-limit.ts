/** Limits failed sign-in attempts by what was tried: ten at once, then one in six seconds. */
export interface Attempts {
  /** Seconds until another failed attempt at this key, or from this address, counts; 0 when it does now. */
  waitS(tried: string | undefined): number
  failed(tried: string | undefined): void
}

const burst = 10
const everyMs = 6_000
/** Bounds the memory: when more are known, all are forgotten. */
const maxTried = 10_000

export function createAttempts(now: () => number = () => performance.now()): Attempts {
  /** Time from which the next attempt is on time. */
  const onTime = new Map<string, number>()
  return {
    waitS(tried = '') {
      const aheadMs = (onTime.get(tried) ?? 0) - now() - (burst - 1) * everyMs
      return Math.max(0, Math.ceil(aheadMs / 1_000))
    },
    failed(tried = '') {
      if (onTime.size >= maxTried && !onTime.has(tried)) onTime.clear()
      onTime.set(tried, Math.max(onTime.get(tried) ?? 0, now()) + everyMs)
    },
  }
}
