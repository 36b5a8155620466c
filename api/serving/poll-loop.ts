/**
 * Something done again and again, one at a time: after a pause, or at once when woken. After failures it is tried each half
 * second at the latest, however long the pause is otherwise: whoever was cut off is to be in step again within two seconds,
 * and the deadline of the last try takes one of them. The pauses are uneven, so that a database that comes back is not met by
 * all its clients at once. A call that hangs is bounded by the deadlines of what it calls.
 */

const longestRetryMs = 500

export interface Loop {
  /** Does it as soon as possible; once more after the call that may be under way. Resolves when it has been done. */
  wake(): Promise<void>
  /** Ends after the call that may be under way. */
  stop(): Promise<void>
}

export function startLoop(
  work: () => Promise<void>,
  { everyMs, onError }: { everyMs: number; onError: (error: unknown) => void },
): Loop {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let again: Promise<void> | undefined
  let stopped = false
  let failures = 0

  const pauseMs = (): number =>
    failures === 0 ? everyMs : Math.min(longestRetryMs, everyMs * 2 ** failures) * (0.5 + Math.random() / 2)
  const run = async (): Promise<void> => {
    clearTimeout(timer)
    try {
      await work()
      failures = 0
    } catch (error) {
      failures++
      onError(error)
    } finally {
      running = undefined
      if (!stopped) timer = setTimeout(() => void wake(), pauseMs())
    }
  }
  const wake = (): Promise<void> => {
    if (stopped) return Promise.resolve()
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
