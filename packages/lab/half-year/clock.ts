/** Maps recorded times of 2001 to wall-clock times at a fixed ratio. */

export type SteppedClock = ReturnType<typeof createSteppedClock>

export const hourMs = 3_600_000
export const dayMs = 24 * hourMs
export const realWeekMs = 7 * dayMs

export function createSteppedClock(options: { recordedMs: number; wallMs: number; weekMs: number }) {
  const { recordedMs: recordedFrom, wallMs: wallFrom, weekMs } = options
  const ratio = realWeekMs / weekMs
  return {
    /** Wall-clock duration of a recorded week. */
    weekMs,
    /** Recorded milliseconds per wall-clock millisecond. */
    ratio,
    wallOf: (recordedMs: number): number => wallFrom + (recordedMs - recordedFrom) / ratio,
    recordedOf: (wallMs: number): number => recordedFrom + (wallMs - wallFrom) * ratio,
    /** Wall-clock duration of a recorded one, in whole milliseconds. */
    shrunk: (recordedMs: number): number => Math.max(1, Math.round(recordedMs / ratio)),
  }
}
