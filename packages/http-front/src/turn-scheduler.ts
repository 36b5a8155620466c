/**
 * Divides each turn of the event loop between requests and everything else. A turn that served all arrived requests would block timers
 * and new connections, so a turn works for a few milliseconds, and the rest waits in order in a queue. Responses of a turn are written
 * together.
 */
export interface WorkQueue {
  /**
   * Runs the work now or in a later turn, and passes the milliseconds that it waited. `hold` is called for work that has to wait, and may
   * throw to refuse it; it returns what to call when the work begins.
   */
  enqueue(hold: () => () => void, work: (waitedMs: number) => void): void
  /** Whether nothing is queued. */
  isIdle(): boolean
}

interface QueuedWork {
  work: (waitedMs: number) => void
  release: () => void
  atMs: number
}

/** The work of one turn in milliseconds: more delays everything else, less makes the event loop itself expensive. */
const turnMs = 4
/** Limits the finished entries kept at the head of the queue, because the queue never becomes empty under lasting overload. */
const maxDone = 1_024

export function createWorkQueue(now: () => number = () => performance.now()): WorkQueue {
  /** When this turn started its first work; undefined before. */
  let startedMs: number | undefined
  let isScheduled = false
  let queue: QueuedWork[] = []
  let next = 0
  const schedule = (): void => {
    if (!isScheduled) setImmediate(runTurn)
    isScheduled = true
  }
  const runTurn = (): void => {
    isScheduled = false
    startedMs = now()
    while (next < queue.length && now() - startedMs < turnMs) {
      const { work, release, atMs } = queue[next++]!
      release()
      work(now() - atMs)
    }
    startedMs = undefined
    if (next === queue.length || next > maxDone) {
      queue = queue.slice(next)
      next = 0
    }
    if (queue.length > 0) schedule()
  }
  return {
    enqueue(hold, work) {
      const atMs = now()
      startedMs ??= atMs
      schedule()
      if (queue.length === 0 && atMs - startedMs < turnMs) {
        return work(0)
      }
      queue.push({ work, release: hold(), atMs })
    },
    isIdle: () => queue.length === 0,
  }
}

/** Collects the work of a turn and runs it together, in order: at the end of the turn, or when `most` pieces wait. */
export function createTurnEnd(most: number): (work: () => void) => void {
  let waiting: (() => void)[] = []
  const run = (): void => {
    const works = waiting
    waiting = []
    for (const work of works) work()
  }
  return (work) => {
    if (waiting.push(work) === most) run()
    else if (waiting.length === 1) setImmediate(run)
  }
}
