/**
 * Shares the event loop between predictions and bodies that hold thousands of records. A body goes on for five milliseconds, then waits for the
 * next turn; one turn begins in each round of the loop, of the keys in order, so that neither many bodies nor one key delay a prediction by more.
 */
const sliceMs = 5

/** The bodies that wait for a turn, by their keys; the first key is next. */
const waiting = new Map<string, (() => void)[]>()
let isScheduled = false

function schedule(): void {
  if (isScheduled) return
  isScheduled = true
  setImmediate(() => {
    isScheduled = false
    const [next] = waiting
    if (next === undefined) return
    const [key, bodies] = next
    // A key with further bodies is the last one now.
    waiting.delete(key)
    const go = bodies.shift()
    if (bodies.length > 0) waiting.set(key, bodies)
    go?.()
    if (waiting.size > 0) schedule()
  })
}

/** Returns a function that a body of this key awaits before each record. It waits only when the body has had its turn. */
export function turnsOf(key: string, now = () => performance.now()): () => Promise<void> {
  let untilMs = -Infinity
  return async () => {
    if (now() < untilMs) return
    await new Promise<void>((resolve) => {
      const bodies = waiting.get(key)
      if (bodies === undefined) waiting.set(key, [resolve])
      else bodies.push(resolve)
      schedule()
    })
    untilMs = now() + sliceMs
  }
}
