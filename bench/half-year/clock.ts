/** Maps recorded times of 2001 to wall-clock times at a fixed ratio. */

export interface SteppedClock {
  /** Wall-clock duration of a recorded week. */
  weekMs: number
  /** Recorded milliseconds per wall-clock millisecond. */
  ratio: number
  wallOf(recordedMs: number): number
  recordedOf(wallMs: number): number
  /** Wall-clock duration of a recorded one, in whole milliseconds. */
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
