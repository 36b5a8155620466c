/**
 * Starts one process so that it can be ended for certain: in a group of its own, which is signalled as a whole, and
 * tied to its parent by the kernel, so that a parent killed with -9 takes it along. Without the tie a crashed
 * `tenure up` would leave servers behind that hold the ports and the data of the next one.
 */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import type { Stream } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '../../domain/errors.ts'
import { environmentWith } from '../../temporal.config.ts'

export interface ProcessSpec {
  name: string
  command: string
  args: string[]
  /** Added to the environment of this process. */
  env?: Record<string, string>
  cwd?: string
  /** Open files that it is handed down, from number 3 on: sockets that outlive it. */
  inherits?: readonly object[]
  /** User and group to run as, for the servers that refuse root. */
  userId?: number
  /** Asks it to end in its own clean way; SIGTERM unless told otherwise. */
  stopSignal?: NodeJS.Signals
  /** How long the clean way may take before SIGKILL. */
  graceMs?: number
  /** Clears what a killed predecessor left behind; awaited before each start. */
  prepare?: () => Promise<void>
  /** Resolves once the process serves; polled by `whenReady`, so it may simply throw or answer false until then. */
  isReady?: (pid: number) => Promise<boolean>
}

export interface Exit {
  code: number | null
  signal: NodeJS.Signals | null
}

export interface RunningProcess {
  pid: number
  exited: Promise<Exit>
  /** Signals the whole group. */
  kill(signal: NodeJS.Signals): void
  /** Asks the leader for the clean way; after the grace, and for what the leader left of its group, comes SIGKILL. */
  stop(): Promise<Exit>
}

const READY_POLL_MS = 25
const DEFAULT_GRACE_MS = 10_000
/** Part of Debian's base system; asks the kernel to signal the process when its parent dies. */
const TIE = '/usr/bin/setpriv'

export async function spawnProcess(
  spec: ProcessSpec,
  onLine: (line: string) => void,
): Promise<RunningProcess> {
  await spec.prepare?.()
  const stopSignal = spec.stopSignal ?? 'SIGTERM'
  const own = [spec.command, ...spec.args]
  const tied = existsSync(TIE) ? [TIE, '--pdeathsig', stopSignal.slice('SIG'.length), '--', ...own] : own
  const child = spawn(tied[0] ?? spec.command, tied.slice(1), {
    cwd: spec.cwd,
    env: environmentWith(spec.env ?? {}),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...((spec.inherits ?? []) as Stream[])],
    ...(spec.userId === undefined ? {} : { uid: spec.userId, gid: spec.userId }),
  })
  for (const stream of [child.stdout, child.stderr])
    if (stream !== null) createInterface({ input: stream }).on('line', onLine)
  await new Promise<void>((resolve, reject) => child.once('spawn', resolve).once('error', reject))
  const pid = child.pid as number
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const kill = (signal: NodeJS.Signals) => {
    try {
      process.kill(-pid, signal)
    } catch {
      // Nobody of the group is left, which is what the signal was to bring about.
    }
  }
  return {
    pid,
    exited,
    kill,
    async stop() {
      child.kill(stopSignal)
      const deadline = setTimeout(() => kill('SIGKILL'), spec.graceMs ?? DEFAULT_GRACE_MS)
      const exit = await exited
      clearTimeout(deadline)
      kill('SIGKILL')
      return exit
    },
  }
}

/** Waits until the process serves. Rejects when it ends first or when `timeoutMs` has passed. */
export async function whenReady(
  spec: ProcessSpec,
  { pid, exited }: RunningProcess,
  timeoutMs = 30_000,
): Promise<void> {
  let ended: Exit | undefined
  void exited.then((exit) => (ended = exit))
  const deadline = performance.now() + timeoutMs
  while (!(await spec.isReady?.(pid).catch(() => false)) && spec.isReady !== undefined) {
    if (ended !== undefined)
      throw new Error(`${spec.name} ended with ${ended.signal ?? `exit code ${ended.code}`} while starting`)
    if (performance.now() > deadline)
      throw new Error(`${spec.name} did not become ready within ${timeoutMs} ms`)
    await sleep(READY_POLL_MS)
  }
}

/** When a process started, in ticks since boot; absent when there is no such process, or only its unburied rest. */
export function birthOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return undefined
  }
}

/** A port nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  return listenOnce(0)
}

/**
 * Throws `configuration_invalid` when somebody listens on the port already: servers report that in odd ways and late. A
 * server that was just killed holds its port for a moment more; so long, `patienceMs`, its successor may wait.
 */
export async function expectFree(port: number, what: string, patienceMs = 0): Promise<void> {
  const startedMs = performance.now()
  for (;;) {
    const taken = await listenOnce(port).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    )
    if (taken === undefined) return
    if (performance.now() - startedMs >= patienceMs)
      throw new DomainError(
        'configuration_invalid',
        `${what} cannot have port ${port} on 127.0.0.1: ${taken}`,
        { port },
      )
    await sleep(20)
  }
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : port))
    })
  })
}
