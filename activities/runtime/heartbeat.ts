/**
 * Tells Temporal that an activity lives, so that the work of a dead worker begins elsewhere within seconds; and brings
 * back that nobody wants the work any more, which Temporal says only to those who heartbeat.
 */
import { Context } from '@temporalio/activity'

const everyMs = 1_000

export interface Beat {
  /** Waits; throws at once when the activity is cancelled or its worker shuts down. */
  sleep(ms: number): Promise<void>
  /** Throws when the activity is cancelled or its worker shuts down. */
  check(): void
  /** Aborted then. */
  signal: AbortSignal
  /** Says nothing any more, as of a worker that has died: for drills. */
  fallSilent(): void
}

/**
 * Heartbeats until the work ends, with what `details` says at the time. What reads the disk, computes in native threads or
 * waits for a child process leaves the timer running.
 */
export async function withHeartbeat<T>(
  work: (beat: Beat) => Promise<T>,
  details?: () => unknown,
): Promise<T> {
  const context = Context.current()
  const timer = setInterval(() => context.heartbeat(details?.()), everyMs)
  try {
    return await work({
      sleep: (ms) => context.sleep(ms),
      check: () => context.cancellationSignal.throwIfAborted(),
      signal: context.cancellationSignal,
      fallSilent: () => clearInterval(timer),
    })
  } finally {
    clearInterval(timer)
  }
}
