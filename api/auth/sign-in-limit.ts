/** Limits failed sign-in attempts per address: ten at once, then one in six seconds. */
export interface Attempts {
  /** Seconds until this address may try again; 0 when it may now. */
  waitS(address: string | undefined): number
  failed(address: string | undefined): void
}

const burst = 10
const everyMs = 6_000
/** Bounds the memory: when more addresses are known, all are forgotten. */
const maxAddresses = 10_000

export function createAttempts(now: () => number = () => performance.now()): Attempts {
  /** Time from which the next attempt is on time. */
  const onTime = new Map<string, number>()
  const nameOf = (address: string | undefined) => address ?? ''
  return {
    waitS(address) {
      const aheadMs = (onTime.get(nameOf(address)) ?? 0) - now() - (burst - 1) * everyMs
      return Math.max(0, Math.ceil(aheadMs / 1_000))
    },
    failed(address) {
      const name = nameOf(address)
      if (onTime.size >= maxAddresses && !onTime.has(name)) onTime.clear()
      onTime.set(name, Math.max(onTime.get(name) ?? 0, now()) + everyMs)
    },
  }
}
