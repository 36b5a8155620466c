/** Replaces the clock, the timers and the randomness of the process by those of a world. */
import { carried } from './carried.ts'
import { workflowTime } from './temporal/workflow-host.ts'
import { epochMs, wallOf, type Machine, type World } from './world.ts'

let worldNow: World | undefined

export interface GlobalsOptions {
  /** Returns when a timer of a machine fires, in milliseconds. Short timers that fire late, as on a busy machine, save events. Default: as asked. */
  timerMs?: (machine: Machine | undefined, ms: number) => number
}

/**
 * Replaces clock, timers and randomness permanently by those of the entered world, because production code uses the globals. Only for a
 * dedicated process.
 */
export function replaceGlobals({ timerMs = (_, ms) => ms }: GlobalsOptions = {}): void {
  const here = (): World => {
    if (worldNow === undefined) throw new Error('no world is running')
    return worldNow
  }
  const later = (run: () => void, ms = 0) => {
    const world = here()
    const machine = world.current()
    const handle = { cancel: world.after(machine, timerMs(machine, ms), run), unref: () => handle }
    return handle
  }
  const stop = (handle: { cancel: () => void } | undefined) => handle?.cancel()
  const every = (run: () => void, ms: number) => {
    const world = here()
    const machine = world.current()
    let stopped = false
    let cancel = () => {}
    const turn = () => {
      run()
      if (!stopped) cancel = world.after(machine, ms, turn)
    }
    cancel = world.after(machine, ms, turn)
    const handle = {
      cancel() {
        stopped = true
        cancel()
      },
      unref: () => handle,
    }
    return handle
  }
  const monotonic = (): number => {
    const world = worldNow
    return world === undefined ? 0 : world.now() - (world.current()?.startedMs ?? 0) + 1_000
  }
  const wall = (): number => {
    const world = worldNow
    if (world === undefined) return epochMs
    const machine = world.current()
    return workflowTime() ?? (machine === undefined ? epochMs + world.now() : wallOf(world, machine))
  }
  Object.assign(globalThis, {
    setTimeout: later,
    clearTimeout: stop,
    setInterval: every,
    clearInterval: stop,
  })
  Object.assign(Date, { now: wall })
  Object.assign(Math, { random: () => (worldNow === undefined ? 0.5 : worldNow.random()) })
  Object.defineProperty(performance, 'now', { value: monotonic, configurable: true })
}

/** Makes a world the one of the globals; undefined when its run is over. */
export function enter(world: World | undefined): void {
  worldNow = world
  carried.context = undefined
  // Stack traces of simulated failures are never read and cost more than the failures.
  if (world) Error.stackTraceLimit = 0
}
