/**
 * Implements a virtual world: one queue of events, one clock, machines that crash, freeze and have wrong clocks, and the
 * links between machines. One seed determines every event of a run. A second source of randomness or time would cause failures that cannot
 * be reproduced.
 */
import { carried } from './carried.ts'
import { seededRandom } from './random.ts'

export interface Machine {
  readonly name: string
  /** Increments with every start; events for an earlier process of the machine are dropped. */
  life: number
  isUp: boolean
  /** When the frozen process resumes; events that arrive earlier wait. */
  frozenUntil: number
  /** Difference of its wall clock to the true time, in milliseconds. */
  wallOffMs: number
  /** When its current process was started. */
  startedMs: number
  waiting: Happening[]
}

interface Happening {
  atMs: number
  order: number
  machine: Machine | undefined
  life: number
  run: () => unknown
  /** The activity that the event belongs to. */
  context: unknown
  cancelled: boolean
}

export interface World {
  readonly random: () => number
  /** The true time in milliseconds since the run began. */
  now(): number
  /** The machine whose event is being executed. */
  current(): Machine | undefined
  /** The machine of the last executed event. */
  last(): Machine | undefined
  machine(name: string): Machine
  /** Schedules a later event on a machine, or in the world when no machine is given. Returns a function that cancels the event. */
  after(machine: Machine | undefined, ms: number, run: () => unknown): () => void
  /** Sends a message from one machine to another: it arrives late or never. */
  send(from: Machine, to: Machine, run: () => unknown): void
  crash(machine: Machine): void
  start(machine: Machine): void
  freeze(machine: Machine, ms: number): void
  /** Cuts or heals the link from one machine to another. */
  cut(from: string, to: string, isCut: boolean): void
  isCut(from: Machine, to: Machine): boolean
  /** Delays every message by up to this many milliseconds. */
  slow(ms: number): void
  /** Runs events until the time is reached or `isOver` returns true. */
  run(untilMs: number, afterEach: () => void, isOver: () => boolean): Promise<void>
  /** Writes a line of the trace. */
  tell(text: string): void
  readonly trace: string[]
  events(): number
  int(below: number): number
  between(low: number, high: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly T[]): T
}

/** The wall-clock time at which every run begins: a Monday. */
export const epochMs = Date.UTC(2026, 0, 5)

/** The real functions, saved before the globals are replaced. */
const nextTurn = globalThis.setImmediate

/** Runs all pending microtasks, as Node does between two callbacks. Not for code that a promise has called. */
export const settle = (process as unknown as { _tickCallback: () => void })._tickCallback

export function createWorld(seed: number, { traced = false } = {}): World {
  const random = seededRandom(seed)
  const heap: Happening[] = []
  const cuts = new Set<string>()
  const trace: string[] = []
  let nowMs = 0
  let order = 0
  let events = 0
  let slowMs = 0
  let current: Machine | undefined
  let last: Machine | undefined

  const isEarlier = (a: Happening, b: Happening): boolean =>
    a.atMs !== b.atMs ? a.atMs < b.atMs : a.order < b.order
  const push = (each: Happening): void => {
    let at = heap.push(each) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      if (!isEarlier(each, heap[above]!)) break
      heap[at] = heap[above]!
      at = above
    }
    heap[at] = each
  }
  const pop = (): Happening | undefined => {
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isEarlier(heap[below + 1]!, heap[below]!)) below++
      if (!isEarlier(heap[below]!, last)) break
      heap[at] = heap[below]!
      at = below
    }
    heap[at] = last
    return first
  }
  const after = (machine: Machine | undefined, ms: number, run: () => unknown): (() => void) => {
    const each: Happening = {
      atMs: nowMs + Math.max(0, ms),
      order: order++,
      machine,
      life: machine?.life ?? 0,
      run,
      context: carried.context,
      cancelled: false,
    }
    push(each)
    return () => {
      each.cancelled = true
    }
  }
  const world: World = {
    random,
    now: () => nowMs,
    current: () => current,
    last: () => last,
    trace,
    events: () => events,
    machine: (name) => ({
      name,
      life: 1,
      isUp: true,
      frozenUntil: 0,
      wallOffMs: 0,
      startedMs: nowMs,
      waiting: [],
    }),
    after,
    send(from, to, run) {
      if (cuts.has(`${from.name} ${to.name}`)) return
      after(to, 0.1 + random() * 0.6 + (slowMs > 0 ? random() * slowMs : 0), run)
    },
    crash(machine) {
      machine.isUp = false
      machine.life++
      machine.frozenUntil = 0
      machine.waiting = []
    },
    start(machine) {
      machine.isUp = true
      machine.startedMs = nowMs
    },
    freeze(machine, ms) {
      machine.frozenUntil = nowMs + ms
      const life = machine.life
      after(undefined, ms, () => {
        if (machine.life !== life || machine.frozenUntil > nowMs) return
        for (const each of machine.waiting.splice(0)) push({ ...each, atMs: nowMs, order: order++ })
      })
    },
    cut(from, to, isCut) {
      if (isCut) cuts.add(`${from} ${to}`)
      else cuts.delete(`${from} ${to}`)
    },
    isCut: (from, to) => cuts.has(`${from.name} ${to.name}`),
    slow(ms) {
      slowMs = ms
    },
    run: (untilMs, afterEach, isOver) =>
      new Promise((resolve, reject) => {
        const turn = (): void => {
          try {
            for (let i = 0; i < 5_000; i++) {
              if (isOver()) return resolve()
              const next = pop()
              if (next === undefined || next.atMs > untilMs) {
                if (next !== undefined) push(next)
                nowMs = untilMs
                return resolve()
              }
              const { machine } = next
              if (next.cancelled || (machine !== undefined && (!machine.isUp || machine.life !== next.life)))
                continue
              nowMs = Math.max(nowMs, next.atMs)
              if (machine !== undefined && machine.frozenUntil > nowMs) {
                machine.waiting.push(next)
                continue
              }
              events++
              current = last = machine
              carried.context = next.context
              next.run()
              settle()
              current = undefined
              afterEach()
            }
            nextTurn(turn)
          } catch (error) {
            reject(error as Error)
          }
        }
        nextTurn(turn)
      }),
    tell(text) {
      if (traced) trace.push(`${(nowMs / 1000).toFixed(3).padStart(8)}  ${text}`)
    },
    int: (below) => Math.floor(random() * below),
    between: (low, high) => low + random() * (high - low),
    chance: (probability) => random() < probability,
    pick: (list) => list[Math.floor(random() * list.length)]!,
  }
  return world
}

/** Returns the time of the machine's wall clock. */
export const wallOf = (world: World, machine: Machine): number => epochMs + world.now() + machine.wallOffMs
