/**
 * Keeps the processes of one machine alive and ends them together. Whatever dies is started again after a growing,
 * jittered pause, each starts only when those it needs are ready, and the end comes in the reverse order, so that no
 * worker ever meets a database that was taken away first. Nothing may be left behind: each process leads a group that is
 * killed as a whole, the kernel signals it when the supervisor itself is killed, and the next start ends what remains.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { spawnProcess, whenReady } from '../embedded/process.ts'
import type { ProcessSpec, RunningProcess } from '../embedded/process.ts'
import { claim } from './pidfile.ts'

export interface ChildSpec extends ProcessSpec {
  /** Names of the children that must be ready before this one starts, and that end only after it. */
  after?: readonly string[]
  /** `never` lets it end by itself; `always` is the default. */
  restart?: 'always' | 'never'
}

export interface SuperviseOptions {
  /** Gets every line of every child; the supervisor's own lines come under the name `tenure`. */
  log: (name: string, line: string) => void
  /** Where the pid file lies; one supervisor per directory. */
  stateDir: string
  /** How long a child may take to become ready, in milliseconds. */
  readyMs?: number
  /** The first and the longest pause before a restart. */
  pauseMs?: { min: number; max: number }
  /** End everything on SIGINT, SIGTERM and SIGHUP, and at once on the second one; on unless told otherwise. */
  signals?: boolean
}

export interface Supervision {
  /** The process of a child as it runs now; absent while it is being restarted. */
  pidOf(name: string): number | undefined
  /** How often a child was started again. */
  restartsOf(name: string): number
  /** Ends a child in its clean way and starts it again; resolves when it is ready, rejects when it does not become so. */
  restart(name: string): Promise<void>
  /** Ends all children in reverse order. The same promise as `stopped`. */
  stop(): Promise<void>
  /** Resolves when every child has ended, whoever asked for it. */
  stopped: Promise<void>
}

interface Child {
  spec: ChildSpec
  running?: RunningProcess
  restarts: number
  /** Set while somebody waits for it to be ended and started again. */
  recalled?: { resolve: () => void; reject: (error: Error) => void }
  /** Settles with the first readiness, or with the failure to get there. */
  ready: Promise<void>
  /** Resolves when it has ended for good. */
  done: Promise<void>
}

const READY_MS = 60_000
const PAUSE_MS = { min: 100, max: 10_000 }
/** A child that served this long starts again without the memory of its earlier deaths. */
const STEADY_MS = 30_000
/** One Ctrl-C may arrive twice, from the terminal and from npm; only a later one is a second wish. */
const ECHO_MS = 500
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** Starts all children and resolves when all are ready. When one cannot start, all are ended and its error is thrown. */
export async function supervise(
  specs: readonly ChildSpec[],
  { log, stateDir, readyMs = READY_MS, pauseMs = PAUSE_MS, signals = true }: SuperviseOptions,
): Promise<Supervision> {
  const pidfile = await claim(join(stateDir, 'supervisor.json'))
  const children = new Map<string, Child>()
  const stopping = new AbortController()
  const note = () => pidfile.note([...children.values()].flatMap(({ running }) => running?.pid ?? []))
  const killAll = () => children.forEach(({ running }) => running?.kill('SIGKILL'))

  const begin = (spec: ChildSpec): Child => {
    const child: Child = { spec, restarts: 0, ready: Promise.resolve(), done: Promise.resolve() }
    const needed = (spec.after ?? []).map((name) => found(children, name, spec.name).ready)
    child.ready = Promise.all(needed).then(() => start(child))
    child.done = child.ready.then(
      () => keep(child),
      () => {},
    )
    return child
  }

  const start = async (child: Child): Promise<void> => {
    if (stopping.signal.aborted) throw new Error(`${child.spec.name} was not started any more`)
    const running = await spawnProcess(child.spec, (line) => log(child.spec.name, line))
    child.running = running
    note()
    void running.exited.then(() => delete child.running)
    if (stopping.signal.aborted) running.kill('SIGKILL')
    await whenReady(child.spec, running, readyMs).catch((error: unknown) => {
      running.kill('SIGKILL')
      throw error
    })
  }

  /** Starts a child again each time it ends, until the end is wanted. */
  const keep = async (child: Child): Promise<void> => {
    const { spec } = child
    for (let deaths = 0; ; deaths += 1) {
      const since = performance.now()
      const { running } = child
      const exit = await running?.exited
      running?.kill('SIGKILL')
      const { recalled } = child
      delete child.recalled
      if (stopping.signal.aborted || (spec.restart === 'never' && recalled === undefined)) {
        recalled?.reject(new Error(`${spec.name} was not started any more`))
        return
      }
      if (performance.now() - since > STEADY_MS) deaths = 0
      if (recalled !== undefined) log('tenure', `${spec.name} is restarted`)
      else {
        log(
          'tenure',
          `${spec.name} ended (${exit?.signal ?? `exit code ${exit?.code ?? '?'}`}), starting it again`,
        )
        await pause(Math.min(pauseMs.min * 2 ** deaths, pauseMs.max), stopping.signal)
      }
      child.restarts += 1
      await start(child).then(recalled?.resolve, (error: Error) => {
        log('tenure', error.message)
        recalled?.reject(error)
      })
      if (stopping.signal.aborted) return
    }
  }

  const stopOne = async (child: Child): Promise<void> => {
    const users = [...children.values()].filter(({ spec }) => spec.after?.includes(child.spec.name))
    await Promise.all(users.map(stopOnce))
    await child.running?.stop()
    await child.done
  }
  const ends = new Map<Child, Promise<void>>()
  const stopOnce = (child: Child): Promise<void> => {
    const end = ends.get(child) ?? stopOne(child)
    ends.set(child, end)
    return end
  }

  let settle: () => void = () => {}
  const stopped = new Promise<void>((resolve) => (settle = resolve))
  const stop = (): Promise<void> => {
    if (stopping.signal.aborted) return stopped
    stopping.abort()
    void Promise.all([...children.values()].map(stopOnce)).finally(() => {
      process.off('exit', killAll)
      SIGNALS.forEach((name) => process.off(name, onSignal))
      pidfile.release()
      settle()
    })
    return stopped
  }

  let asked: { by: NodeJS.Signals; atMs: number } | undefined
  const onSignal = (by: NodeJS.Signals) => {
    if (asked === undefined) log('tenure', `${by}: stopping everything; once more to kill it`)
    else if (performance.now() - asked.atMs > ECHO_MS) killAll()
    asked ??= { by, atMs: performance.now() }
    void stop()
  }

  process.on('exit', killAll)
  if (signals) SIGNALS.forEach((name) => process.on(name, onSignal))
  for (const spec of specs) children.set(spec.name, begin(spec))
  try {
    await Promise.all([...children.values()].map(({ ready }) => ready))
  } catch (error) {
    await stop()
    throw asked === undefined ? error : new Error(`${asked.by} came before everything had started`)
  }
  return {
    pidOf: (name) => children.get(name)?.running?.pid,
    restartsOf: (name) => children.get(name)?.restarts ?? 0,
    async restart(name) {
      const child = children.get(name)
      const { running } = child ?? {}
      if (child === undefined || running === undefined) throw new Error(`${name} does not run`)
      await new Promise<void>((resolve, reject) => {
        child.recalled = { resolve, reject }
        void running.stop()
      })
    },
    stop,
    stopped,
  }
}

function found(children: ReadonlyMap<string, Child>, name: string, by: string): Child {
  const child = children.get(name)
  if (child === undefined)
    throw new Error(`${by} comes after ${name}, which is not among the children before it`)
  return child
}

/** Half to all of the time, so that children that died together do not come back together. Cut short by the signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {})
}
