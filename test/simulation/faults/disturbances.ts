/**
 * Injects faults and user commands at exact moments of a step, where a late step or an uninformed replica does harm. Chance alone rarely
 * hits these moments.
 */
import type { CommandName } from '../../../domain/release/state.ts'
import type { Disturbance, Machine, Moment, World } from '@tenure/simulator'
import type { Behaviour } from '../replicas.ts'
import type { Fault, PlannedCommand } from '../scenario.ts'

export interface Accomplices {
  world: World
  /** The simulated Temporal server, which receives user commands. */
  temporal: Machine
  behaviour: Behaviour
  say(command: Omit<PlannedCommand, 'atMs' | 'copies'>): void
  cutReplica(forMs: number, which: number): void
  restore(): void
}

const byOlga = { by: 'olga', reason: 'it is not wanted', isSignal: true } as const

/** Waits for the start of one of these steps, at its n-th occurrence. */
const beginning = (steps: readonly string[], nth: number) => {
  let left = nth
  return (moment: Moment) => moment.kind === 'begins' && steps.includes(moment.step) && --left <= 0
}

export function disturbanceOf(accomplices: Accomplices, fault: Fault): Disturbance {
  const { world, temporal, say, cutReplica } = accomplices
  const { kind, which, forMs } = fault
  switch (kind) {
    case 'freeze in a step':
      return {
        awaits: beginning(['route', 'promote'], which % 8 === 0 ? 2 : 1),
        strike(moment) {
          if (moment.kind !== 'begins') return 0
          world.tell(`${moment.machine.name} freezes within "${moment.step}"`)
          // Longer than any timeout, so that another worker has taken over when it wakes up.
          world.freeze(moment.machine, forMs + 2_500)
          // The step must have no effect, although the rows are unchanged.
          world.after(temporal, world.between(10, 300), () =>
            say({ ...byOlga, command: 'abort', id: 'held' }),
          )
          return 0
        },
      }
    case 'hold a step':
      return held(accomplices, fault)
    case 'restore in a step':
      return restored(accomplices, fault)
    case 'command at a verdict':
      return spoken(accomplices, fault)
    default: {
      const cut = () => cutReplica(forMs + 1_500, which)
      if (which % 2)
        return {
          awaits: beginning(['route', 'promote', 'rollBackCandidate'], 1 + (which % 6)),
          strike: () => (cut(), 0),
        }
      return {
        awaits: beginning(['promote'], 1),
        // The new champion is rolled back, and one of its replicas can no longer be notified.
        strike() {
          world.after(temporal, world.between(300, 1_200), () => {
            cut()
            say({ ...byOlga, command: 'rollback', id: 'unwell' })
          })
          return 0
        },
      }
    }
  }
}

/** Shorter than a statement's timeout: the transaction is still alive when its step continues. */
const withinStatementMs = 1_200

/**
 * Delays one statement of a promotion or a route while the release is aborted. Otherwise delays the report of the step: its writes are
 * committed, but the workflow does not know yet.
 */
function held({ world, temporal, say, cutReplica }: Accomplices, { which, forMs }: Fault): Disturbance {
  const isReport = which % 2 === 0
  let left = isReport ? 1 : 1 + (which % 9)
  const holdMs = Math.min(100 + forMs, withinStatementMs)
  return {
    awaits: (moment) =>
      moment.kind === (isReport ? 'tells' : 'asks') &&
      (moment.step === 'promote' || (moment.step === 'route' && which % 4 === 3)) &&
      --left <= 0,
    strike(moment) {
      world.tell(
        `"${moment.kind === 'begins' ? '' : (moment.step ?? '')}" is held for ${Math.round(holdMs)} ms`,
      )
      if (which % 3 === 0) cutReplica(forMs + 1_500, which)
      world.after(temporal, world.between(0, holdMs), () => say({ ...byOlga, command: 'abort', id: 'held' }))
      return holdMs
    },
  }
}

/** Restores a backup while a release is rolled back, promoted or closed. */
function restored({ world, temporal, say, restore }: Accomplices, { which }: Fault): Disturbance {
  const step = (['rollBackCandidate', 'rollBackCandidate', 'closeRelease', 'promote'] as const)[which % 4]!
  let left = 1 + (which % 11)
  return {
    awaits: (moment) => moment.kind === 'asks' && moment.step === step && --left <= 0,
    strike() {
      world.tell(`a backup is restored within "${step}"`)
      restore()
      // In a restored probation the release continues, and a user may roll it back again.
      if (which % 2)
        world.after(temporal, world.between(10, 800), () =>
          say({ ...byOlga, command: 'rollback', id: 'anew' }),
        )
      return 0
    },
  }
}

/** Sends a user's command while the verdict against a candidate is in transit; from then on the candidate has no failures. */
function spoken({ world, say, behaviour }: Accomplices, { which, forMs }: Fault): Disturbance {
  const command = (['pause', 'pause', 'resume', 'promoteNow', 'approve'] as CommandName[])[which % 5]!
  return {
    awaits: (moment) =>
      moment.kind === 'asks' && moment.statement === 'insertDecision' && moment.values[3] === 'fail',
    strike() {
      world.tell(`${command} meets the verdict`)
      say({ ...byOlga, by: 'root', command, id: 'meets' })
      if (which % 3) for (const each of behaviour.values()) each.invalid = 0
      // As long as a command needs until it is applied, or much longer.
      return which % 4 ? world.between(2, 12) : Math.min(forMs, withinStatementMs)
    },
  }
}
