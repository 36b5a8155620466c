/**
 * Sends heartbeats for an activity, so that another worker takes over within seconds after a crash. Also detects cancellation, which
 * Temporal reports only to heartbeats.
 */
import { Context } from '@temporalio/activity'
import type { InstallingBeat } from '../../domain/training/trainer.ts'

const everyMs = 1_000

export interface Beat {
  /** Waits; throws at once when the activity is cancelled or its worker shuts down. */
  sleep(ms: number): Promise<void>
  /** Throws when the activity is cancelled or its worker shuts down. */
  check(): void
  /** Aborted in the same cases. */
  signal: AbortSignal
  /** Stops heartbeats, to simulate a dead worker in drills. */
  fallSilent(): void
}

/**
 * Sends heartbeats with `details` until the work ends. The timer keeps running during disk reads, native threads and waits for a child.
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

/** Sends heartbeats that say what `work` installs, as it reports it; undefined when it has installed all. */
export function withInstallHeartbeat<T>(
  work: (beat: Beat & { onInstall: (step: string | undefined) => void }) => Promise<T>,
): Promise<T> {
  let installing: string | undefined
  return withHeartbeat(
    (beat) => work({ ...beat, onInstall: (step) => (installing = step) }),
    (): InstallingBeat => ({ installing }),
  )
}
