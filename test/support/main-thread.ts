/** Measures the CPU time of the main thread, or counts the turns of the event loop, so that a test of a blocked event loop does not depend on the load of the machine. */
import { readFileSync } from 'node:fs'

/** Returns the CPU time of this thread in milliseconds. Returns wall-clock time on systems that do not count it. */
export function mainThreadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  } catch {
    return performance.now()
  }
}

/** Runs `work` and returns the longest CPU time of the main thread between two timers, in milliseconds. */
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
    // Lets the timer fire once more after the last of the work.
    await new Promise((resolve) => setTimeout(resolve, 3))
  } finally {
    clearInterval(timer)
  }
  return longest
}

/** Runs `work` and returns how often other events could run meanwhile. */
export async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0
  let isRunning = true
  const count = () => {
    turns++
    if (isRunning) setImmediate(count)
  }
  setImmediate(count)
  await work().finally(() => (isRunning = false))
  return turns
}
