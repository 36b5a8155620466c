/**
 * What befalls a release in the middle of a step, and what people say right then: the moments at which a late step or a replica
 * that was not told does harm, and which chance alone hardly ever hits.
 */
import type { Fault, PlannedCommand } from './scenario.ts'
import type { Temporal, Worker } from './temporal/temporal.ts'
import type { World } from './world.ts'

export interface Disturbance {
  /** It strikes when a worker begins with one of these steps … */
  types: readonly string[]
  /** … for as many times as are left. */
  left: number
  strike(worker: Worker, type: string): void
}

export interface Accomplices {
  world: World
  temporal: Temporal
  say(said: Omit<PlannedCommand, 'atMs' | 'copies'>): void
  cutReplica(forMs: number, which: number): void
}

const said = { by: 'olga', reason: 'it is not wanted', isSignal: true } as const

export function disturbanceOf(
  { world, temporal, say, cutReplica }: Accomplices,
  { kind, which, forMs }: Fault,
): Disturbance {
  if (kind === 'freeze in a step')
    return {
      types: ['route', 'promote'],
      left: which % 8 === 0 ? 2 : 1,
      strike({ machine }, type) {
        world.tell(`${machine.name} freezes within "${type}"`)
        // Longer than any timeout, so that another worker has continued when it wakes up.
        world.freeze(machine, forMs + 2_500)
        // Its step must have no effect, although the rows are unchanged.
        const abort = () => say({ ...said, command: 'abort', id: 'held' })
        world.after(temporal.machine, world.between(10, 300), abort)
      },
    }
  const cut = () => cutReplica(forMs + 1_500, which)
  if (which % 2)
    return { types: ['route', 'promote', 'rollBackCandidate'], left: 1 + (which % 6), strike: cut }
  return {
    types: ['promote'],
    left: 1,
    // The new champion is rolled back, and one of its replicas can no longer be notified.
    strike: () =>
      void world.after(temporal.machine, world.between(300, 1_200), () => {
        cut()
        say({ ...said, command: 'rollback', id: 'unwell' })
      }),
  }
}
