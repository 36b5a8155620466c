/**
 * Starts the processes of one machine in order of dependency, restarts those that die with backoff and jitter, and stops them in reverse
 * order. Kills each process group as a whole, so that no orphan remains. Spares orphans of a killed supervisor that still serve, until the
 * caller has their successors.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ProcessSpec, type RunningProcess, spawnProcess, whenReady } from '@tenure/embedded'
import { claim } from './pidfile.ts'

export interface ChildSpec extends ProcessSpec {
  /** Children that must be ready before this one starts, and that stop after it. */
  after?: readonly string[]
  /** Default: `always`. */
  restart?: 'always' | 'never'
}

export interface SuperviseOptions {
  /** Receives every line of every child; the supervisor logs as `tenure`. */
  log: (name: string, line: string) => void
  /** Directory of the pid file; one supervisor per directory. */
  stateDir: string
  readyMs?: number
  pauseMs?: { min: number; max: number }
  /** Stop on SIGINT, SIGTERM and SIGHUP, and kill on the second one. Default: true. */
  signals?: boolean
}

export interface Supervision {
  /** Process id of a child; undefined during a restart. */
  pidOf(name: string): number | undefined
  restartsOf(name: string): number
  /** Stops and restarts a child; resolves when it is ready. */
  restart(name: string): Promise<void>
  /** Ends the spared processes of a killed supervisor. */
  endSpared(): Promise<void>
  /** Stops all children in reverse order, then the spared processes; returns `stopped`. */
  stop(): Promise<void>
  /** Resolves when every child has ended. */
  stopped: Promise<void>
}

interface Child {
  spec: ChildSpec
  running?: RunningProcess
  restarts: number
  /** The pending call of `restart`. */
  recalled?: { resolve: () => void; reject: (error: Error) => void }
  /** Settles with the first readiness or failure. */
  ready: Promise<void>
  /** Resolves when the child has ended for good. */
  done: Promise<void>
}

const defaultReadyMs = 60_000
const defaultPauseMs = { min: 100, max: 10_000 }
/** After this uptime, the backoff starts from its minimum again. */
const steadyMs = 30_000
/** Ctrl-C may deliver the signal twice, from the terminal and from npm; a second signal counts only after this time. */
const echoMs = 500
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** The state that the children of one supervisor share. */
interface Group {
  children: Map<string, Child>
  stopping: AbortController
  log: SuperviseOptions['log']
  readyMs: number
  pauseMs: { min: number; max: number }
  /** Records the running process groups in the pid file. */
  note(): void
}

/** Starts all children and resolves when all are ready. If one cannot start, all are stopped and its error is thrown. */
export async function supervise(
  specs: readonly ChildSpec[],
  { log, stateDir, readyMs = defaultReadyMs, pauseMs = defaultPauseMs, signals = true }: SuperviseOptions,
): Promise<Supervision> {
  const pidfile = await claim(join(stateDir, 'supervisor.json'), { spare: true })
  const children = new Map<string, Child>()
  const stopping = new AbortController()
  const note = () => {
    try {
      pidfile.note(
        [...children.values()].flatMap(({ running, spec: { outlives } }) =>
          running === undefined ? [] : [{ pid: running.pid, outlives }],
        ),
      )
    } catch (error) {
      // A full disk must not end a running child. The next start of a child writes the file again.
      log('tenure', `supervisor.json could not be written: ${(error as Error).message}`)
    }
  }
  const group: Group = { children, stopping, log, readyMs, pauseMs, note }
  const killAll = () => children.forEach(({ running }) => running?.kill('SIGKILL'))
  // A crash of this process must not stop the replicas that may outlive it.
  const killTied = () =>
    children.forEach(({ running, spec }) => spec.outlives !== true && running?.kill('SIGKILL'))

  let resolveStopped: () => void = () => {}
  const stopped = new Promise<void>((resolve) => (resolveStopped = resolve))
  const stop = ({ spare = false } = {}): Promise<void> => {
    if (stopping.signal.aborted) return stopped
    stopping.abort()
    const ends = [stopChildren(children), ...(spare ? [] : [pidfile.endSpared()])]
    void Promise.allSettled(ends).finally(() => {
      process.off('exit', killTied)
      stopSignals.forEach((name) => process.off(name, onSignal))
      pidfile.release()
      resolveStopped()
    })
    return stopped
  }

  let received: { by: NodeJS.Signals; atMs: number } | undefined
  const onSignal = (by: NodeJS.Signals) => {
    if (received === undefined) log('tenure', `${by}: stopping everything; send it again to kill`)
    else if (performance.now() - received.atMs > echoMs) {
      killAll()
      void pidfile.endSpared({ graceMs: 0 })
    }
    received ??= { by, atMs: performance.now() }
    void stop()
  }

  process.on('exit', killTied)
  if (signals) stopSignals.forEach((name) => process.on(name, onSignal))
  for (const spec of specs) children.set(spec.name, begin(group, spec))
  try {
    await Promise.all([...children.values()].map(({ ready }) => ready))
  } catch (error) {
    // A failed start keeps the spared replicas serving.
    await stop({ spare: received === undefined })
    throw received === undefined ? error : new Error(`${received.by} received during the start`)
  }
  return {
    pidOf: (name) => children.get(name)?.running?.pid,
    restartsOf: (name) => children.get(name)?.restarts ?? 0,
    async restart(name) {
      const child = children.get(name)
      const { running } = child ?? {}
      if (child === undefined || running === undefined) throw new Error(`${name} is not running`)
      await new Promise<void>((resolve, reject) => {
        child.recalled = { resolve, reject }
        void running.stop()
      })
    },
    endSpared: pidfile.endSpared,
    stop: () => stop(),
    stopped,
  }
}

/** Starts a child after the children it needs, and keeps it running. */
function begin(group: Group, spec: ChildSpec): Child {
  const child: Child = { spec, restarts: 0, ready: Promise.resolve(), done: Promise.resolve() }
  const needed = (spec.after ?? []).map((name) => found(group.children, name, spec.name).ready)
  child.ready = Promise.all(needed).then(() => startFirst(group, child))
  child.done = child.ready.then(
    () => keep(group, child),
    () => {},
  )
  return child
}

async function start({ stopping, log, readyMs, note }: Group, child: Child): Promise<void> {
  const { spec } = child
  if (stopping.signal.aborted) throw stoppedBefore(spec)
  const running = await spawnProcess(spec, (line) => log(spec.name, line))
  child.running = running
  note()
  void running.exited.then(() => delete child.running)
  if (stopping.signal.aborted) running.kill('SIGKILL')
  await whenReady(spec, running, readyMs)
}

/** Starts a child once more if it hangs, as a restart does. */
async function startFirst(group: Group, child: Child): Promise<void> {
  await start(group, child).catch(async (error: Error & { hung?: boolean }) => {
    if (error.hung !== true) throw error
    group.log('tenure', `${error.message}; starting it again`)
    await start(group, child)
  })
}

/** Restarts a child each time it ends, until the supervisor stops. */
async function keep(group: Group, child: Child): Promise<void> {
  const { stopping, log, pauseMs } = group
  const { spec } = child
  for (let deaths = 0; ; deaths += 1) {
    const since = performance.now()
    const { running } = child
    const exit = await running?.exited
    const endedAt = performance.now()
    running?.kill('SIGKILL')
    const { recalled } = child
    delete child.recalled
    if (stopping.signal.aborted || (spec.restart === 'never' && recalled === undefined)) {
      recalled?.reject(stoppedBefore(spec))
      return
    }
    if (performance.now() - since > steadyMs) deaths = 0
    if (recalled !== undefined) log('tenure', `restarting ${spec.name}`)
    else {
      log('tenure', `${spec.name} ended (${exit?.signal ?? `exit code ${exit?.code ?? '?'}`}), restarting it`)
      await pause(Math.min(pauseMs.min * 2 ** deaths, pauseMs.max), stopping.signal)
    }
    child.restarts += 1
    await start(group, child).then(
      () => {
        log('tenure', `${spec.name} is back after ${((performance.now() - endedAt) / 1_000).toFixed(1)} s`)
        recalled?.resolve()
      },
      (error: Error) => {
        log('tenure', error.message)
        recalled?.reject(error)
      },
    )
    if (stopping.signal.aborted) return
  }
}

/** Stops all children, each after those that need it. */
async function stopChildren(children: ReadonlyMap<string, Child>): Promise<void> {
  const ends = new Map<Child, Promise<void>>()
  const stopOnce = (child: Child): Promise<void> => {
    const end = ends.get(child) ?? stopOne(child)
    ends.set(child, end)
    return end
  }
  const stopOne = async (child: Child): Promise<void> => {
    const users = [...children.values()].filter(({ spec }) => spec.after?.includes(child.spec.name))
    await Promise.all(users.map(stopOnce))
    await child.running?.stop()
    await child.done
  }
  await Promise.all([...children.values()].map(stopOnce))
}

const stoppedBefore = ({ name }: ChildSpec) =>
  new Error(`${name} was not started: the supervisor is stopping`)

function found(children: ReadonlyMap<string, Child>, name: string, by: string): Child {
  const child = children.get(name)
  if (child === undefined) throw new Error(`${by} needs ${name}, which is not declared before it`)
  return child
}

/** Waits between half and all of `ms`, so that children that died together do not restart together. Ends early when the signal aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
}
