/** Measures the processor time of the main thread: what a test of a blocked event loop means, whatever else the machine does. */
import { readFileSync } from 'node:fs'

/** Milliseconds for which this thread has run. A system that does not count them gives the time of the clock. */
export function mainThreadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  } catch {
    return performance.now()
  }
}

/** Runs `work` and returns the longest time for which the main thread ran between two timers. */
export async function longestTurnMs(work: () => Promise<unknown>): Promise<number> {
  let longest = 0
  let last = mainThreadMs()
  const timer = setInterval(() => {
    const now = mainThreadMs()
    longest = Math.max(longest, now - last)
    last = now
  }, 1)
  try {
    await work()
    // The timer has its turn after the last of the work.
    await new Promise((resolve) => setTimeout(resolve, 3))
  } finally {
    clearInterval(timer)
  }
  return longest
}
