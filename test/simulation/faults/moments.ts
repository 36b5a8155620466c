/** The moments of a run that disturbances and scripted scenarios wait for, and may delay. */
import type { Machine } from '../world.ts'

export type Moment =
  /** A worker begins with a step. */
  | { kind: 'begins'; step: string; machine: Machine }
  /** A statement, or "begin" or "commit", is about to be sent to the database. `step` is the activity it belongs to. */
  | {
      kind: 'asks'
      step: string | undefined
      statement: string
      values: readonly unknown[]
      machine: Machine
    }
  /** A worker is about to report the result of a step. */
  | { kind: 'tells'; step: string; result: unknown; machine: Machine }

export interface Disturbance {
  awaits(moment: Moment): boolean
  /** For how many milliseconds the moment is delayed. It strikes once. */
  strike(moment: Moment): number
}

export interface Moments {
  wait(disturbance: Disturbance): void
  /** Returns for how many milliseconds the moment is delayed. */
  happen(moment: Moment): number
  clear(): void
}

export function createMoments(): Moments {
  const waiting = new Set<Disturbance>()
  return {
    wait: (disturbance) => void waiting.add(disturbance),
    happen(moment) {
      let delayMs = 0
      // A strike may wait for a later moment; that one must not be struck by this moment as well.
      const present = [...waiting]
      for (const each of present) {
        if (!each.awaits(moment)) continue
        waiting.delete(each)
        delayMs = Math.max(delayMs, each.strike(moment))
      }
      return delayMs
    },
    clear: () => waiting.clear(),
  }
}
