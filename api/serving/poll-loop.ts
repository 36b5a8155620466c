/**
 * Repeats a task, one call at a time: after a pause, or at once when woken. After failures it retries within half a second, so that a
 * replica catches up within two seconds of an outage. The pauses are random, so that replicas do not retry at the same moment.
 */
const maxRetryMs = 500

export interface Loop {
  /** Runs the task as soon as possible, after a call in progress. Resolves when it has run, with whether it succeeded. */
  wake(): Promise<boolean>
  /** Resolves after the call in progress. */
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
