/**
 * How long a request has waited for this process. Everything that has arrived is taken from the kernel in one turn of the event
 * loop, so what is answered late in a turn has waited at least since the turn began. Without a limit, an overloaded replica
 * would answer everybody too late, which helps nobody.
 */
export interface Pressure {
  /** Milliseconds that a request, about to be answered now, has waited at least. */
  waitedMs(): number
}

export function createPressure(now: () => number = () => performance.now()): Pressure {
  let turnBegan: number | undefined
  const end = (): void => {
    turnBegan = undefined
  }
  return {
    waitedMs() {
      const at = now()
      if (turnBegan === undefined) {
        turnBegan = at
        setImmediate(end)
      }
      return at - turnBegan
    },
  }
}
