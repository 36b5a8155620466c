/**
 * The generic cell rate algorithm (ITU-T I.371): a bucket of `burst` requests that refills by one every `stepMs`, stored as one time, from
 * which the next request is within the rate.
 */
export interface Pace {
  stepMs: number
  burst: number
}

/** Sums of fractions are rounded, which must not take the last request of a burst. */
const roundingMs = 1e-3

/** Returns the milliseconds until the next request is allowed; 0 when it is allowed now. */
export function paceWaitMs({ stepMs, burst }: Pace, onTimeMs: number, nowMs: number): number {
  const waitMs = onTimeMs - nowMs - (burst - 1) * stepMs
  return waitMs > roundingMs ? waitMs : 0
}

/** Returns the time from which the next request is within the rate, after a request at `nowMs`. */
export const paceOnTimeMs = ({ stepMs }: Pace, onTimeMs: number, nowMs: number): number =>
  Math.max(onTimeMs, nowMs) + stepMs
