/** Defines the moments of a run that disturbances and scripts wait for and may delay. */
import type { Machine } from './world.ts'

export type Moment =
  /** A worker starts a step. */
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
  /** Returns the delay of the moment in milliseconds. Each strike is used once. */
  strike(moment: Moment): number
}

export interface Moments {
  wait(disturbance: Disturbance): void
  /** Returns the delay of the moment in milliseconds. */
  happen(moment: Moment): number
  clear(): void
}

export function createMoments(): Moments {
  const waiting = new Set<Disturbance>()
  return {
    wait: (disturbance) => void waiting.add(disturbance),
    happen(moment) {
      let delayMs = 0
      // A strike may wait for a later moment, and this moment must not trigger that wait.
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
