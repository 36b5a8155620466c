/**
 * Repeats a task, one call at a time: after a pause, or at once when woken. After failures it retries within half a second, so
 * that a replica is in step again within two seconds of an outage. The pauses are random, so that clients do not retry together.
 */
const maxRetryMs = 500

export interface Loop {
  /** Runs the task as soon as possible, after a call that is under way. Resolves when it has run: whether it did, without an error. */
  wake(): Promise<boolean>
  /** Resolves after the call that is under way. */
  stop(): Promise<void>
}

export function startLoop(
  work: () => Promise<void>,
  { everyMs, onError }: { everyMs: number; onError: (error: unknown) => void },
): Loop {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<boolean> | undefined
  let again: Promise<boolean> | undefined
  let stopped = false
  let failures = 0

  const pauseMs = (): number =>
    failures === 0 ? everyMs : Math.min(maxRetryMs, everyMs * 2 ** failures) * (0.5 + Math.random() / 2)
  const run = async (): Promise<boolean> => {
    clearTimeout(timer)
    try {
      await work()
      failures = 0
      return true
    } catch (error) {
      failures++
      onError(error)
      return false
    } finally {
      running = undefined
      if (!stopped) timer = setTimeout(() => void wake(), pauseMs())
    }
  }
  const wake = (): Promise<boolean> => {
    if (stopped) return Promise.resolve(false)
    if (running === undefined) return (running = run())
    again ??= running.then(() => {
      again = undefined
      return wake()
    })
    return again
  }
  void wake()
  return {
    wake,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await running
    },
  }
}
