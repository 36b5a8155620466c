/** Compiles the times of a stage from its own values or the defaults of its list. */
import type { StagePolicy } from '../../../domain/release/policy.ts'
import type { Duration, DurationReader } from '../duration.ts'

export const minuteMs = 60_000

interface StageTimes {
  soak?: Duration
  requests?: number
  deadline?: Duration
}

interface DefaultTimes {
  soakMs: number
  deadlineMs: number | undefined
  requests: number
}

export const timesOf =
  (at: DurationReader, { soakMs, deadlineMs, requests }: DefaultTimes) =>
  (place: string, options: StageTimes): Omit<StagePolicy, 'shareBp'> => {
    const minMs = at(`${place}.soak`, options.soak, soakMs)
    return {
      minMs,
      minRequests: options.requests ?? requests,
      deadlineMs: at(`${place}.deadline`, options.deadline, deadlineMs ?? minMs * 8),
    }
  }
