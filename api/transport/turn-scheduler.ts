/**
 * Shares the turns of the event loop between answering and everything else. All that has arrived is read in one turn, and a turn
 * that also answered all of it would take as long as there are callers: meanwhile one new connection is taken, no timer runs, and
 * nobody knows how long the next request has waited in the kernel. So a turn works for a few milliseconds, and what is left waits
 * here, in order, where it can be seen.
 */
export interface WorkQueue {
  /** Does the work now or in a later turn, and tells it for how many milliseconds it has waited. False when too much waits. */
  enqueue(bytes: number, work: (waitedMs: number) => void): boolean
  /** Whether nothing waits. */
  isIdle(): boolean
}

interface Waiting {
  work: (waitedMs: number) => void
  bytes: number
  atMs: number
}

/** What a turn answers; more makes others late, less makes the loop itself dear. */
const turnMs = 4
/** Work that is done and still stands at the head of the queue; under a lasting overload it never becomes empty. */
const maxDone = 1_024

export function createWorkQueue(maxBytes: number, now: () => number = () => performance.now()): WorkQueue {
  /** When this turn began to answer; nothing while it has not. */
  let began: number | undefined
  let isScheduled = false
  let queue: Waiting[] = []
  let next = 0
  let heldBytes = 0
  const schedule = (): void => {
    if (!isScheduled) setImmediate(end)
    isScheduled = true
  }
  const end = (): void => {
    isScheduled = false
    began = now()
    while (next < queue.length && now() - began < turnMs) {
      const { work, bytes, atMs } = queue[next++]!
      heldBytes -= bytes
      work(now() - atMs)
    }
    began = undefined
    if (next === queue.length || next > maxDone) {
      queue = queue.slice(next)
      next = 0
    }
    if (queue.length > 0) schedule()
  }
  return {
    enqueue(bytes, work) {
      const atMs = now()
      began ??= atMs
      schedule()
      if (queue.length === 0 && atMs - began < turnMs) {
        work(0)
        return true
      }
      if (heldBytes + bytes > maxBytes) return false
      heldBytes += bytes
      queue.push({ work, bytes, atMs })
      return true
    },
    isIdle: () => queue.length === 0,
  }
}
