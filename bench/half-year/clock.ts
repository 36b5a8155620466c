/**
 * Two clocks side by side: the recorded one, on which a flight of 2001 left, and the one on the wall. They run at a fixed ratio,
 * so that every time of the records has one place on the wall, and what asks for "now" gets the recorded moment.
 */

export interface SteppedClock {
  /** How long a recorded week takes here. */
  weekMs: number
  /** Recorded milliseconds in one of the wall. */
  ratio: number
  wallOf(recordedMs: number): number
  recordedOf(wallMs: number): number
  /** A recorded duration on the wall, in whole milliseconds. */
  shrunk(recordedMs: number): number
}

export const hourMs = 3_600_000
export const dayMs = 24 * hourMs
export const realWeekMs = 7 * dayMs

export function createSteppedClock(options: {
  recordedMs: number
  wallMs: number
  weekMs: number
}): SteppedClock {
  const { recordedMs: recordedFrom, wallMs: wallFrom, weekMs } = options
  const ratio = realWeekMs / weekMs
  return {
    weekMs,
    ratio,
    wallOf: (recordedMs) => wallFrom + (recordedMs - recordedFrom) / ratio,
    recordedOf: (wallMs) => recordedFrom + (wallMs - wallFrom) * ratio,
    shrunk: (recordedMs) => Math.max(1, Math.round(recordedMs / ratio)),
  }
}
